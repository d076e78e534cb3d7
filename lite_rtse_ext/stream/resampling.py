"""Conversion of whole signals between sample rates by the filters of the streaming engine.

A file then has the samples of a stream, of the command and of the C library. The filters have linear phase, and nothing
is shifted in time. ``csrc/stream/resampler.h`` describes them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext import _stream
from lite_rtse_ext.audio.resampling import length_at

__all__ = ["convert"]


def convert(
    samples: NDArray[np.float32], source_rate: int, target_rate: int, first: int = 0, last: int | None = None
) -> NDArray[np.float32]:
    """Return a signal at another sample rate, or a part of it. The signal is assumed to continue with silence.

    Args:
        samples: the whole signal, ``(frames, channels)``.
        source_rate: sample rate of the signal in Hz, 1 kHz to 1 MHz.
        target_rate: sample rate of the result in Hz, likewise.
        first, last: the frames of the result to return. By default all that cover the signal.

    Returns:
        ``(last - first, channels)``, float32. In memory, each channel is contiguous.
    """
    last = length_at(len(samples), source_rate, target_rate) if last is None else last
    result = np.empty((last - first, samples.shape[1]), np.float32, order="F")
    for channel, signal in enumerate(samples.T):
        signal = np.ascontiguousarray(signal, np.float32)
        result[:, channel] = _stream.resample(signal, source_rate, target_rate, first, last - first)
    return result
