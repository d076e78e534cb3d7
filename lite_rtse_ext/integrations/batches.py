"""Blocks of many live calls of an event loop, enhanced together."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.signal import HOP_LENGTH, SAMPLE_RATE_HZ
from lite_rtse_ext.stream.streamer import Streamer, process_batch

__all__ = ["MOST_TOGETHER", "Batches"]

Floats = NDArray[np.float32]

MOST_TOGETHER = 8
"""Largest number of calls in a round. More together are hardly faster, and the loop waits until a round is computed."""

_MOST_FRAMES = 2  # of a call in a round, so that no long message delays the other calls


class _Block(NamedTuple):
    streamer: Streamer
    samples: Floats
    result: asyncio.Future[Floats]


class Batches:
    """Rounds of :func:`process_batch` on the event loop.

    A round takes the blocks that arrived since the previous one. So a lone call never waits for others, and the rounds
    grow with the load. Between two rounds the loop receives and sends.

    A round takes at most about 5 ms, less than a frame. A thread for it would not help on the same core: measured with
    five calls, it took a third more processor time. Run a process for each core instead.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Block] = deque()

    async def feed(self, streamer: Streamer, samples: Floats) -> Floats:
        """Enhance a block of any length, as :meth:`Streamer.feed` does. A streamer's blocks must come one by one."""
        most = _MOST_FRAMES * HOP_LENGTH * streamer.sample_rate // SAMPLE_RATE_HZ
        pieces = [samples[begin : begin + most] for begin in range(0, len(samples), most)]
        return np.concatenate([np.zeros(0, np.float32), *[await self._piece(streamer, piece) for piece in pieces]])

    async def _piece(self, streamer: Streamer, samples: Floats) -> Floats:
        loop = asyncio.get_running_loop()
        block = _Block(streamer, samples, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._round)
        self._waiting.append(block)
        return await block.result

    def _round(self) -> None:
        blocks = [self._waiting.popleft() for _ in range(min(MOST_TOGETHER, len(self._waiting)))]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._round)
        blocks = [block for block in blocks if not block.result.done()]  # the others were canceled
        try:
            results = process_batch([block.streamer for block in blocks], [block.samples for block in blocks])
        except Exception as error:  # of any kind: each call must learn of it
            for block in blocks:
                block.result.set_exception(error)
        else:
            for block, result in zip(blocks, results, strict=True):
                block.result.set_result(result)
