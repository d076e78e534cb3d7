"""Measurement and compensation of delays."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.tools import Samples
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["LONGEST", "in_time", "lag"]

LONGEST = SAMPLE_RATE_HZ // 10
"""Delays and advances must be shorter than this, in samples."""


def lag(out: Samples, reference: Samples) -> int:
    """Return the delay of ``out`` in samples. It is negative if ``out`` is early.

    The delay is the lag at which the phases of both signals agree best (GCC-PHAT). The maximum of the plain
    cross-correlation is up to 30 samples off if ``out`` was high-pass filtered. The reason is that a few low
    frequencies hold most of the power of speech.

    Args:
        out: the delayed waveform, ``(samples,)``.
        reference: the original waveform, ``(samples,)``.

    Raises:
        ValueError: the delay is not shorter than :data:`LONGEST`, or one of the waveforms is silent.
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
    """Compensate a delay of ``late`` samples, and return ``length`` samples. The rest is padded with zeros."""
    moved = out[late:] if late >= 0 else np.pad(out, (-late, 0))
    return np.pad(moved, (0, max(0, length - len(moved))))[:length]
