"""Streaming at sample rates other than 16 kHz, by soxr's streaming resampler."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.resampling import Quality, StreamResampler
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.stream.network import LATENCY_SAMPLES

_PROBE_SECONDS = 2
_PROBES_A_SECOND = 1000


def _resamplers(rate: int, quality: Quality) -> tuple[StreamResampler, StreamResampler]:
    """Resamplers from a rate to 16 kHz and back."""
    there = StreamResampler(rate, SAMPLE_RATE_HZ, quality=quality)
    return there, StreamResampler(SAMPLE_RATE_HZ, rate, quality=quality)


@lru_cache(maxsize=32)
def _held_back(rate: int, quality: Quality) -> int:
    """Maximum number of samples at ``rate`` that the two resamplers hold back, for blocks of any length.

    soxr works in bursts, and their timing depends on the rates. The maximum is therefore measured, in steps of a
    millisecond. Two more steps are added to cover the positions between the measured ones.
    """
    there, back = _resamplers(rate, quality)
    step = max(1, rate // _PROBES_A_SECOND)
    silence = np.zeros(step, np.float32)
    held = 0
    for _ in range(_PROBE_SECONDS * rate // step):
        back.push(there.push(silence))
        held = max(held, there.received - back.sent)
    return held + 2 * step


class RoundTrip:
    """Conversion from the user's sample rate to 16 kHz and back.

    Args:
        rate: sample rate of the user's signal in Hz.
        quality: soxr's quality setting.

    Attributes:
        latency: delay of both conversions and the network together, in samples at ``rate``.
    """

    def __init__(self, rate: int, quality: Quality) -> None:
        self._there, self._back = _resamplers(rate, quality)
        self._held_back = _held_back(rate, quality)
        self.latency = self._held_back + math.ceil(LATENCY_SAMPLES * rate / SAMPLE_RATE_HZ)
        self.reset()

    def reset(self) -> None:
        """Begin a new signal."""
        self._there.reset()
        self._back.reset()
        self._waiting = np.zeros(self._held_back, np.float32)

    def there(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take samples at the user's rate and return those that are ready at 16 kHz."""
        return self._there.push(samples)

    def rest(self) -> NDArray[np.float32]:
        """Return the rest of the signal at 16 kHz."""
        return self._there.finish()

    def back(self, enhanced: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take enhanced samples at 16 kHz and return those that are ready at the user's rate."""
        return self._back.push(enhanced)

    def back_rest(self, enhanced: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the end of the signal at the user's rate. The total output is then as long as the input."""
        ready = self._back.push(enhanced)
        return np.concatenate([ready, self._back.finish(self._there.received)])

    def back_evenly(self, enhanced: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
        """Return exactly ``samples`` samples at the user's rate, delayed so far that they are always available."""
        waiting = np.concatenate([self._waiting, self._back.push(enhanced)])
        if len(waiting) < samples:
            raise RuntimeError(f"{samples - len(waiting)} samples are missing: soxr was later than when it was tried")
        self._waiting = waiting[samples:].copy()
        return waiting[:samples]

    def back_evenly_rest(self, enhanced: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the end of the signal at the user's rate. The total output exceeds the input by :attr:`latency`."""
        ready = self._back.push(enhanced)
        rest = self._back.finish(self._there.received + self.latency - self._held_back)
        return np.concatenate([self._waiting, ready, rest])
