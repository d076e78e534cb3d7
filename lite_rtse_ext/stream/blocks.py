"""Streaming enhancement of signals with several channels, block by block. Files and pipes are enhanced this way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.stream.network import Network
from lite_rtse_ext.stream.streamer import Streamer, process_batch
from lite_rtse_ext.utils.arguments import Real


def enhance_blocks(
    network: Network,
    blocks: Iterable[NDArray[np.float32]],
    sample_rate: Real,
    channels: int,
    **options: Any,
) -> Iterator[NDArray[np.float32]]:
    """Enhance the blocks of one signal. Each channel is enhanced independently.

    Args:
        network: the weights.
        blocks: ``(frames, channels)`` float32, full scale 1. The division into blocks does not affect the result.
        sample_rate: sample rate of the blocks in Hz.
        channels: number of channels.
        options: options of :class:`Streamer`: ``wet``, ``attenuation_limit_db``, ``high_pass``, ``on_fault``,
            ``resampling``.

    Yields:
        Blocks ``(frames, channels)`` float32 as soon as they are ready. Their total length is that of the input. All
        output that a block allows is yielded before the next block is requested.

    Raises:
        TypeError, ValueError, FloatingPointError: as :class:`Streamer` and :meth:`Streamer.feed`.
        ValueError: ``channels`` is less than 1.
    """
    if channels < 1:
        raise ValueError(f"channels: expected at least 1, got {channels}")
    streamers = [Streamer(network, sample_rate=sample_rate, **options) for _ in range(channels)]
    for block in blocks:
        ready = process_batch(streamers, list(block.T))
        if len(ready[0]):
            yield np.stack(ready, axis=1)
    rest = [streamer.flush() for streamer in streamers]
    if len(rest[0]):
        yield np.stack(rest, axis=1)
