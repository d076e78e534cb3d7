"""Faults that make a readable recording useless for training and evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["SILENCE_DBFS", "delay", "pair_fault", "silence"]

_Samples = NDArray[np.float32]

SILENCE_DBFS = -80.0
"""Power below which a recording counts as silent: three times the rounding step of 16 bits.

Softer signals are lost in the rounding."""

_ROUNDING_DBFS = -95.0
"""Signals whose difference has less power are equal except for their rounding to 16 bits."""

_EDGE = SAMPLE_RATE_HZ // 100
_SAME_DB = 50.0
_UNRELATED_DB = -25.0
_MOST_DELAY = SAMPLE_RATE_HZ // 10
_FRAME = SAMPLE_RATE_HZ // 50
_SWAPPED_DB = 3.0
_TINY = 1e-20


def silence(samples: _Samples) -> str | None:
    """Return why a recording holds no sound, or None if it holds sound.

    A constant is not sound. To detect a constant, the first and last 10 ms are skipped, since resampling changes them.

    Args:
        samples: float32, ``(samples,)``, at 16 kHz.
    """
    if _power_db(samples) < SILENCE_DBFS:
        return "is silent"
    inner = samples[_EDGE:-_EDGE] if len(samples) > 4 * _EDGE else samples
    varying = _power_db(inner - inner.mean(dtype=np.float64))
    if varying < SILENCE_DBFS <= _power_db(inner):
        return "is a constant, no sound"
    return None


def pair_fault(noisy: _Samples, clean: _Samples) -> str | None:
    """Return why two recordings can't be a noisy and a clean recording of the same speech.

    Return None if they can be. Neither may be silent. They must be correlated, and must differ by more than a constant
    factor. At equal level of the speech the pauses of both are compared. The recordings count as swapped if the pauses
    of the clean one are louder.

    Args:
        noisy: float32, ``(samples,)``, at 16 kHz.
        clean: the same, of the same length.
    """
    for side, samples in (("noisy", noisy), ("clean", clean)):
        fault = silence(samples)
        if fault is not None:
            return f"the {side} recording {fault}"
    noisy, clean = (samples - samples.mean(dtype=np.float64) for samples in (noisy, clean))
    gain = float(np.vdot(noisy, clean) / np.vdot(clean, clean))
    rest = _power_db(noisy - gain * clean)
    if rest < max(_ROUNDING_DBFS, _power_db(noisy) - _SAME_DB):
        return "the noisy recording is the clean one"
    if _likeness_db(noisy, clean) < _UNRELATED_DB:
        return "the clean recording is not in the noisy one"
    if _pauses_db(gain * clean) > _pauses_db(noisy) + _SWAPPED_DB:
        return "the clean recording is the noisier one: they seem to be swapped"
    return None


def _power_db(samples: NDArray[np.floating]) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + _TINY))


def delay(noisy: _Samples, clean: _Samples) -> int:
    """Return by how many samples a noisy recording is later than its clean one, within 0.1 s. Early ones are negative.

    It is the delay of the largest correlation, whatever the sign.

    Args:
        noisy: float32, ``(samples,)``, at 16 kHz.
        clean: the same, of the same length.
    """
    noisy, clean = (samples - samples.mean(dtype=np.float64) for samples in (noisy, clean))
    return int(np.argmax(np.abs(_correlation(noisy, clean)))) - _MOST_DELAY


def _likeness_db(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Return the largest squared correlation over delays of up to 0.1 s, in dB. It is 0 dB for equal signals."""
    largest = np.abs(_correlation(one, other)).max()
    norm = np.linalg.norm(one.astype(np.float64)) * np.linalg.norm(other.astype(np.float64))
    return float(20 * np.log10(largest / norm + _TINY))


def _correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the correlation of two signals, where the first is early by 0.1 s, and so on to late by 0.1 s."""
    size = 1 << (len(one) + _MOST_DELAY).bit_length()
    product = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)), size)
    return np.concatenate([product[-_MOST_DELAY:], product[: _MOST_DELAY + 1]])


def _pauses_db(samples: NDArray[np.floating]) -> float:
    """Return the level in dB that a tenth of the signal's 20 ms frames stay below."""
    frames = samples[: max(1, len(samples) // _FRAME) * _FRAME]
    power = np.square(frames, dtype=np.float64).reshape(-1, min(_FRAME, len(frames))).mean(1)
    return float(10 * np.log10(np.percentile(power, 10) + _TINY))
