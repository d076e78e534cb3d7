"""The signal that the networks take: sample rate, transform size, hop and window. It imports no other module.

The window is the square root of a Hann window, ``sin(pi n / 512)``. The engine in ``csrc/stream`` has constants of its
own. Its sample rate and hop are compared with these when it is loaded.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["BINS", "FRAMES_PER_SECOND", "HOP_LENGTH", "N_FFT", "SAMPLE_RATE_HZ", "SIGNAL", "Signal", "window_value"]

SAMPLE_RATE_HZ = 16_000
N_FFT = 512
"""Length of the transform and of its window in samples: 32 ms."""

HOP_LENGTH = N_FFT // 2
"""Distance of two successive frames in samples: 16 ms."""

BINS = N_FFT // 2 + 1
FRAMES_PER_SECOND = SAMPLE_RATE_HZ / HOP_LENGTH


def window_value(sample: int) -> float:
    """Return the value of the window of both transforms at a sample, 0 to 511."""
    return math.sin(math.pi * sample / N_FFT)


class Signal(NamedTuple):
    """The signal of one network.

    Attributes:
        sample_rate: sample rate in Hz.
        n_fft: length of the transform in samples.
        hop_length: distance of two successive frames in samples.
    """

    sample_rate: int = SAMPLE_RATE_HZ
    n_fft: int = N_FFT
    hop_length: int = HOP_LENGTH

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def latency_ms(self) -> float:
        """Algorithmic latency in ms: the length of the transform. A sample waits for all samples of its frames."""
        return 1000 * self.n_fft / self.sample_rate

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate / self.hop_length

    def __str__(self) -> str:
        return f"{self.bins} bins of {self.n_fft} samples every {self.hop_length} at {self.sample_rate} Hz"


SIGNAL = Signal()
