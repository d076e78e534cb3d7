"""The network's output at another sample rate than its own, with the band that the network does not hear.

The signal x goes two ways, where y is x at the network's rate, e is y enhanced, and G is the gain of the highest
quarter of what the network hears:

    output = from the network's rate (e - G y) + G x

By linearity that is e at the rate of x, plus G times what y lacks of x: all above half the network's rate, and what the
resampling filters take below it. If the network changes nothing, the output is x. ``csrc/stream/host_stream.h`` does
the same for streams.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.stream.resampling import convert

__all__ = ["add_wide_band"]

_PIECE_FRAMES = 1 << 18
"""Frames that are converted at a time. For each piece the filter is computed anew, which takes milliseconds."""


def add_wide_band(
    difference: NDArray[np.float32],
    gains: list[NDArray[np.float32]],
    rate: int,
    full: NDArray[np.float32],
    full_rate: int,
) -> Iterator[NDArray[np.float32]]:
    """Yield the output, ``(frames, channels)``, block by block.

    Args:
        difference: e - G y at the network's rate, ``(samples, channels)``. Each channel is contiguous in memory.
        gains: G at the network's rate for each channel.
        rate: the network's sample rate in Hz.
        full: x, ``(frames, channels)``.
        full_rate: the sample rate of x in Hz.
    """
    for first in range(0, len(full), _PIECE_FRAMES):
        part = full[first : first + _PIECE_FRAMES]
        last = first + len(part)
        block = convert(difference, rate, full_rate, first, last)
        places = np.arange(first, last) * (rate / full_rate)
        begin, end = int(places[0]), int(places[-1]) + 2
        for channel, gain in enumerate(gains):
            nearby = gain[begin:end]
            block[:, channel] += np.interp(places - begin, np.arange(len(nearby)), nearby) * part[:, channel]
        yield block
