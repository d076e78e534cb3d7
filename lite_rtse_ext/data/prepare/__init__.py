"""Converts recordings of any kind into the files that training reads: 16 kHz mono FLAC and a manifest.

It does not need torch.
"""
