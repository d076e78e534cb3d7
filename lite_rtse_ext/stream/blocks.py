"""Sound of several channels through the network, block by block: what files and pipes are made of."""

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
    """Enhance blocks of one signal, every channel by itself.

    Args:
        network: the weights.
        blocks: ``(frames, channels)`` float32, cut anywhere: the cuts leave no trace.
        sample_rate: of the blocks, in Hz.
        channels: how many.
        options: for :class:`Streamer`: ``wet``, ``attenuation_limit_db``, ``high_pass``, ``on_fault``,
            ``resampling``.

    Yields:
        blocks ``(frames, channels)`` float32, as soon as they are ready, in all as long as what went in. Between a
        block that is taken and the next, everything that can be known is given.

    Raises:
        ValueError, FloatingPointError: as :meth:`Streamer.feed`; a ValueError too where there is no channel.
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
