"""Recordings of any kind into what training reads: 16 kHz mono FLAC and a manifest. Needs no torch."""
