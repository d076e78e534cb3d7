"""Delays: measured, taken back."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.tools import Samples
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["LONGEST", "in_time", "lag"]

LONGEST = SAMPLE_RATE_HZ // 10
"""The longest delay, in samples, that is reckoned with either way."""


def lag(out: Samples, reference: Samples) -> int:
    """By how many samples ``out`` is late; negative where it is early.

    It is the lag at which the phases of both agree best (GCC-PHAT). The plain cross-correlation is up to 30 samples off
    behind a high-pass, as few low frequencies have most of speech's power.

    Raises:
        ValueError: that is not within the longest delay, or either is silent.
    """
    size = len(out) + len(reference)
    cross = np.fft.rfft(out, size) * np.conj(np.fft.rfft(reference, size))
    loudest = np.abs(cross).max()
    if loudest == 0:
        raise ValueError("delay: expected sound, got silence")
    alike = np.abs(np.fft.irfft(cross / (np.abs(cross) + 1e-9 * loudest), size))
    late = int(np.argmax(alike))
    late -= size if late > size // 2 else 0
    if abs(late) >= LONGEST:
        raise ValueError(f"delay: expected less than {LONGEST} samples either way, got {late}")
    return late


def in_time(out: Samples, late: int, length: int) -> Samples:
    """What came out late by so many samples, in time and as long as what went in."""
    moved = out[late:] if late >= 0 else np.pad(out, (-late, 0))
    return np.pad(moved, (0, max(0, length - len(moved))))[:length]
