"""The signal that the networks hear: sample rate, transform, hop and window. It imports nothing.

The window is the square root of a Hann window, ``sin(pi n / 512)``. The engine in ``csrc/stream`` has the same numbers,
which are compared when it is loaded.
"""

from __future__ import annotations

import math

__all__ = ["BINS", "FRAMES_PER_SECOND", "HOP_LENGTH", "N_FFT", "SAMPLE_RATE_HZ", "window_value"]

SAMPLE_RATE_HZ = 16_000
N_FFT = 512
"""Samples of a transform and of its window: 32 ms."""

HOP_LENGTH = N_FFT // 2
"""Samples from one frame to the next: 16 ms."""

BINS = N_FFT // 2 + 1
FRAMES_PER_SECOND = SAMPLE_RATE_HZ / HOP_LENGTH


def window_value(sample: int) -> float:
    """The window of both transforms at one of its samples, 0 to 511."""
    return math.sin(math.pi * sample / N_FFT)
