"""Streaming enhancement of signals with several channels, block by block. Files and pipes are enhanced this way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.stream.network import Network
from lite_rtse_ext.stream.streamer import Streamer, process_batch
from lite_rtse_ext.utils.arguments import Real, channel_count, switch


def enhance_blocks(
    network: Network,
    blocks: Iterable[NDArray[np.float32]],
    sample_rate: Real,
    channels: int,
    *,
    link_channels: bool = False,
    **options: Any,
) -> Iterator[NDArray[np.float32]]:
    """Enhance the blocks of one signal.

    Args:
        network: the weights.
        blocks: ``(frames, channels)`` float32, full scale 1. The division into blocks does not affect the result.
        sample_rate: sample rate of the blocks in Hz.
        channels: number of channels.
        link_channels: whether all channels get one common gain; see :class:`Streamer`. Otherwise each channel is
            enhanced independently.
        options: options of :class:`Streamer`: ``wet``, ``attenuation_limit_db``, ``extra_reduction_db``,
            ``high_pass``, ``on_fault``.

    Yields:
        Blocks ``(frames, channels)`` float32 as soon as they are ready. Their total length is that of the input. All
        output that a block allows is yielded before the next block is requested.

    Raises:
        TypeError, ValueError, FloatingPointError: as :class:`Streamer` and :meth:`Streamer.feed`.
        ValueError: ``channels`` is less than 1, or more than 64.
    """
    channels = channel_count(channels)
    linked = channels if switch(link_channels, "link_channels") else 1
    streamers = [
        Streamer(network, sample_rate=sample_rate, channels=linked, **options) for _ in range(channels // linked)
    ]
    for block in blocks:
        parts = list(block.T) if linked == 1 else [block]
        ready = process_batch(streamers, parts)
        if len(ready[0]):
            yield np.column_stack(ready)
    rest = [streamer.flush() for streamer in streamers]
    if len(rest[0]):
        yield np.column_stack(rest)
