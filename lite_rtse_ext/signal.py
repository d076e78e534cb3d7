"""The signal that the networks hear: sample rate, transform, hop and window. It imports no other part.

The window is the square root of a Hann window, ``sin(pi n / 512)``. The engine in ``csrc/stream`` has the same numbers,
which are compared when it is loaded.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["BINS", "FRAMES_PER_SECOND", "HOP_LENGTH", "N_FFT", "SAMPLE_RATE_HZ", "SIGNAL", "Signal", "window_value"]

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


class Signal(NamedTuple):
    """The signal of one network."""

    sample_rate: int = SAMPLE_RATE_HZ
    n_fft: int = N_FFT
    hop_length: int = HOP_LENGTH

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def latency_ms(self) -> float:
        """How long a sample waits for those that its frames need: the length of a transform."""
        return 1000 * self.n_fft / self.sample_rate

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate / self.hop_length

    def __str__(self) -> str:
        return f"{self.bins} bins of {self.n_fft} samples every {self.hop_length} at {self.sample_rate} Hz"


SIGNAL = Signal()
