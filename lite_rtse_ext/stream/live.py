"""Live enhancement from microphone to loudspeaker: the callback that the sound library calls for each block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.stream.streamer import Streamer


class Status(Protocol):
    """The sound library's status of a block, such as sounddevice's CallbackFlags."""

    input_overflow: bool
    output_underflow: bool


@dataclass
class Counts:
    """Statistics of the stream so far. Times are in seconds."""

    blocks: int = 0
    late: int = 0
    """Blocks whose processing took longer than their duration."""
    lost_in: int = 0
    """How often the sound library lost input because an earlier block was late."""
    lost_out: int = 0
    """How often the loudspeaker had nothing to play."""
    busy_s: float = 0.0
    worst_s: float = 0.0


class LiveCallback:
    """The callback of a duplex stream.

    A streamer with one channel enhances the mean of the input channels. The result is written to every output channel.
    A streamer with several channels takes as many input channels. If there is another number of output channels, the
    mean of the result is written to every one.

    It never raises an exception, because a sound library would stop the stream. If the streamer raises one, the
    callback stores it in :attr:`error` and calls ``stop``. The output is silent from then on.

    Args:
        streamer: a live streamer (``compensate_delay=False``). With ``on_fault="mute"`` it continues after bad samples.
        clock: returns the time in seconds; ``time.perf_counter``, or a test's clock.
        stop: called once if the streamer raises an exception.

    Raises:
        ValueError: the streamer compensates its delay.
    """

    def __init__(self, streamer: Streamer, clock: Callable[[], float], stop: Callable[[], None]) -> None:
        if streamer.compensate_delay:
            raise ValueError("a live streamer is needed: compensate_delay=False")
        self._streamer, self._clock, self._stop = streamer, clock, stop
        self.counts = Counts()
        self.error: Exception | None = None

    def __call__(
        self, indata: NDArray[np.float32], outdata: NDArray[np.float32], frames: int, time: object, status: Status
    ) -> None:
        """Process one block: ``indata`` (frames, input channels), ``outdata`` (frames, output channels), float32."""
        begin = self._clock()
        counts = self.counts
        counts.blocks += 1
        counts.lost_in += bool(status.input_overflow)
        counts.lost_out += bool(status.output_underflow)
        outdata[:] = 0
        if self.error is not None:
            return
        try:
            outdata[:] = self._enhanced(indata, outdata.shape[1])
        except Exception as error:  # of any kind: the caller of the sound library reads it
            self.error = error
            self._stop()
        took = self._clock() - begin
        counts.busy_s += took
        counts.worst_s = max(counts.worst_s, took)
        counts.late += took > frames / self._streamer.sample_rate

    def _enhanced(self, block: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
        if self._streamer.channels == 1:
            return self._streamer.feed(block.mean(axis=1))[:, None]
        enhanced = self._streamer.feed(block)
        return enhanced if channels == enhanced.shape[1] else enhanced.mean(axis=1, keepdims=True)
