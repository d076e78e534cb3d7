"""Speech of another vocal tract: the formants move, the pitch and the timing stay."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["change", "move_formants"]

_Samples = NDArray[np.float32]
_WINDOW, _HOP = 512, 256
_QUEFRENCIES = 24, 48  # a fade from 1.5 to 3 ms, below the period of a voice of 330 Hz
_MOST_LOG_GAIN = 2.5  # 22 dB
_FLOOR = 1e-7


def change(samples: _Samples, factors: tuple[float, float], random: np.random.Generator) -> _Samples:
    """Move the formants of speech by a random factor; see :func:`move_formants`.

    Args:
        samples: speech, float32, ``(samples,)`` at 16 kHz.
        factors: range of the factor. (1, 1) changes nothing and draws nothing.
        random: the generator of the draw.

    Returns:
        The speech, float32, ``(samples,)``.
    """
    return samples if factors == (1, 1) else move_formants(samples, float(random.uniform(*factors)))


def move_formants(samples: _Samples, factor: float) -> _Samples:
    """Multiply the frequencies of the formants of speech by a factor.

    A shorter vocal tract has higher formants. A change of speed moves pitch and formants together. With both changes,
    one recorded voice becomes many.

    The spectrum of each frame of 32 ms is multiplied by E(f / factor) / E(f). E is its envelope, from the first 3 ms of
    the real cepstrum (Oppenheim and Schafer, Discrete-Time Signal Processing, chapter on the cepstrum). Above 8 kHz ·
    ``factor`` the envelope has its last value. The gain is at most 22 dB, up or down.

    Args:
        samples: speech, float32, ``(samples,)`` at 16 kHz.
        factor: factor on the frequencies, above 0. 1 changes nothing.

    Returns:
        The speech, float32, ``(samples,)``.
    """
    if factor == 1.0 or not len(samples):
        return samples
    window, lifter = _constants()
    frames = -(-len(samples) // _HOP) + 1
    padded = np.zeros((frames + 1) * _HOP, np.float32)
    padded[_HOP : _HOP + len(samples)] = samples
    spectra = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * window)
    cepstra = np.fft.irfft(np.log(np.abs(spectra) + np.float32(_FLOOR))) * lifter
    envelopes = np.fft.rfft(cepstra).real.astype(np.float32)
    gains = np.clip(_stretched(envelopes, factor) - envelopes, -_MOST_LOG_GAIN, _MOST_LOG_GAIN)
    changed = np.fft.irfft(spectra * np.exp(gains)) * window
    result = np.zeros_like(padded)
    for half in (0, 1):  # frames that do not overlap
        some = changed[half::2].reshape(-1)
        result[half * _HOP : half * _HOP + len(some)] += some
    return result[_HOP : _HOP + len(samples)]


@lru_cache(maxsize=1)
def _constants() -> tuple[_Samples, _Samples]:
    """The window of analysis and synthesis, whose squares add up to 1, and the weights of the cepstrum."""
    window = np.sin(np.pi * (np.arange(_WINDOW) + 0.5) / _WINDOW).astype(np.float32)
    first, last = _QUEFRENCIES
    fade = np.clip((np.arange(_WINDOW) - first) / (last - first), 0, 1)
    lifter = (0.5 + 0.5 * np.cos(np.pi * fade)).astype(np.float32)
    lifter[1:] *= 2  # the cepstrum is even: the second half would repeat the first
    return window, lifter


def _stretched(envelopes: _Samples, factor: float) -> _Samples:
    """Each envelope ``(frames, bins)`` at the frequencies divided by ``factor``, linear between bins."""
    last = envelopes.shape[1] - 1
    places = np.minimum(np.arange(last + 1, dtype=np.float32) / np.float32(factor), last)
    lower = np.minimum(places.astype(np.int64), last - 1)
    share = (places - lower).astype(np.float32)
    stretched: _Samples = envelopes[:, lower] * (1 - share) + envelopes[:, lower + 1] * share
    return stretched
