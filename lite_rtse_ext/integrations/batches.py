"""Blocks of many live calls, enhanced together on one thread while the event loop does other work."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from lite_rtse_ext.signal import HOP_LENGTH, SAMPLE_RATE_HZ
from lite_rtse_ext.stream.streamer import Streamer, process_batch

__all__ = ["MOST_TOGETHER", "Batches"]

Floats = NDArray[np.float32]

MOST_TOGETHER = 16
"""Largest number of calls in a round. More together are hardly faster, and all wait until the last one is computed."""

_MOST_FRAMES = 2  # of a call in a round, so that no long message delays the other calls


class _Block(NamedTuple):
    streamer: Streamer
    samples: Floats
    result: asyncio.Future[Floats]


class Batches:
    """Rounds of :func:`process_batch`, an asynchronous context manager.

    A round takes the blocks that arrived during the previous one. So a lone call never waits for others, and the
    rounds grow with the load. The engine releases the GIL, so the event loop receives and sends during a round.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Block] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="enhance")

    async def __aenter__(self) -> Self:
        self._rounds = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._rounds.cancel()
        with suppress(asyncio.CancelledError):
            await self._rounds
        self._thread.shutdown()

    async def feed(self, streamer: Streamer, samples: Floats) -> Floats:
        """Enhance a block of any length, as :meth:`Streamer.feed` does. A streamer's blocks must come one by one."""
        most = _MOST_FRAMES * HOP_LENGTH * streamer.sample_rate // SAMPLE_RATE_HZ
        pieces = [samples[begin : begin + most] for begin in range(0, len(samples), most)]
        results = [await self._piece(streamer, piece) for piece in pieces]
        return results[0] if len(results) == 1 else np.concatenate([*results, np.zeros(0, np.float32)])

    async def _piece(self, streamer: Streamer, samples: Floats) -> Floats:
        result: asyncio.Future[Floats] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Block(streamer, samples, result))
        self._arrived.set()
        return await result

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            blocks = [self._waiting.popleft() for _ in range(min(MOST_TOGETHER, len(self._waiting)))]
            if not self._waiting:
                self._arrived.clear()
            streamers, samples = [block.streamer for block in blocks], [block.samples for block in blocks]
            try:
                results = await loop.run_in_executor(self._thread, process_batch, streamers, samples)
            except Exception as error:  # of any kind: each call must learn of it
                for block in blocks:
                    if not block.result.done():
                        block.result.set_exception(error)
                continue
            for block, result in zip(blocks, results, strict=True):
                if not block.result.done():  # its call was abandoned
                    block.result.set_result(result)
