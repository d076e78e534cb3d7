"""The sample rate of everything inside. It has a module of its own, so that reading files needs no torch."""

SAMPLE_RATE_HZ = 16_000
