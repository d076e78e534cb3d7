"""The signals that the networks take: sample rate, transform size, hop and window. It imports no other module.

The constants are those of Lite-RTSE, :data:`SIGNAL`. Its window is the square root of a Hann window,
``sin(pi n / 512)``. The engine in ``csrc/stream`` has constants of its own. Its sample rate and hop are compared with
these when it is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["BINS", "FRAMES_PER_SECOND", "HOP_LENGTH", "N_FFT", "SAMPLE_RATE_HZ", "SIGNAL", "WINDOWS", "Signal"]

SAMPLE_RATE_HZ = 16_000
N_FFT = 512
"""Length of the transform and of its window in samples: 32 ms."""

HOP_LENGTH = N_FFT // 2
"""Distance of two successive frames in samples: 16 ms."""

BINS = N_FFT // 2 + 1
FRAMES_PER_SECOND = SAMPLE_RATE_HZ / HOP_LENGTH

WINDOWS: Mapping[str, Callable[[int, int], float]] = {
    "sqrt-hann": lambda n, length: math.sin(math.pi * n / length),
    "sine": lambda n, length: math.sin(math.pi * (n + 0.5) / length),
    "hann": lambda n, length: math.sin(math.pi * n / length) ** 2,
    "rectangular": lambda n, length: 1.0,
}
"""The kinds of windows. Each function takes a sample, 0 to length - 1, and the length of the window."""


@dataclass(frozen=True)
class Signal:
    """The signal of one network.

    Attributes:
        sample_rate: sample rate in Hz.
        n_fft: length of the transform in samples, an even number.
        hop_length: distance of two successive frames in samples.
        window: kind of the window of both transforms, one of :data:`WINDOWS`.
        window_length: length of the window, a multiple of the hop. The default is ``n_fft``. A shorter window is
            followed by zeros.

    Raises:
        ValueError: the lengths do not fit together, or there is no such window.
    """

    sample_rate: int = SAMPLE_RATE_HZ
    n_fft: int = N_FFT
    hop_length: int = HOP_LENGTH
    window: str = "sqrt-hann"
    window_length: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "window_length", self.window_length or self.n_fft)
        if self.window not in WINDOWS:
            raise ValueError(f"window: expected one of {', '.join(WINDOWS)}, got {self.window!r}")
        if self.n_fft % 2 or not 0 < self.hop_length < self.window_length <= self.n_fft:
            raise ValueError(
                f"n_fft, window_length, hop_length: expected n_fft even and at least window_length, and window_length "
                f"above hop_length, got {self.n_fft}, {self.window_length}, {self.hop_length}"
            )
        if self.window_length % self.hop_length:
            raise ValueError(
                f"window_length: expected a multiple of hop_length ({self.hop_length}), got {self.window_length}"
            )

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def overlap(self) -> int:
        """Number of frames in which each sample lies."""
        return self.window_length // self.hop_length

    @property
    def latency_ms(self) -> float:
        """Algorithmic latency in ms: the length of the window. A sample waits for all samples of its frames."""
        return 1000 * self.window_length / self.sample_rate

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate / self.hop_length

    @property
    def analysis_window(self) -> tuple[float, ...]:
        """The window of the transform, one value for each of its ``window_length`` samples."""
        return _windows(self)[0]

    @property
    def synthesis_window(self) -> tuple[float, ...]:
        """The window of the inverse: that of the transform, divided by the sum of the overlapping squares."""
        return _windows(self)[1]

    def __str__(self) -> str:
        return f"{self.bins} bins of {self.n_fft} samples every {self.hop_length} at {self.sample_rate} Hz"


@lru_cache(maxsize=64)
def _windows(signal: Signal) -> tuple[tuple[float, ...], tuple[float, ...]]:
    length, hop = signal.window_length, signal.hop_length
    window = tuple(WINDOWS[signal.window](n, length) for n in range(length))
    total = [sum(window[m] ** 2 for m in range(n, length, hop)) for n in range(hop)]
    return window, tuple(value / total[n % hop] for n, value in enumerate(window))


SIGNAL = Signal()
