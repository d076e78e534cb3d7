"""A microphone through the network to a loudspeaker: what the sound library calls, block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.stream.streamer import Streamer


class Status(Protocol):
    """What the sound library says of a block: sounddevice's CallbackFlags."""

    input_overflow: bool
    output_underflow: bool


@dataclass
class Counts:
    """What happened so far."""

    blocks: int = 0
    late: int = 0
    """Blocks that took longer than they last."""
    lost_in: int = 0
    """Times the sound library lost input, because a block before it was late."""
    lost_out: int = 0
    """Times the loudspeaker had nothing to play."""
    busy_s: float = 0.0
    worst_s: float = 0.0


class LiveCallback:
    """The callback of a duplex stream: the mean of the input's channels, enhanced, to every channel of the output.

    It never raises: a sound library answers an exception by stopping. What the streamer raises is kept in
    :attr:`error`, ``stop`` is called, and the output is silent from then on.

    Args:
        streamer: a live one, ``compensate_delay=False``; ``on_fault="mute"`` lets a call survive bad samples.
        clock: seconds; ``time.perf_counter``, or a test's.
        stop: called once if the streamer raises.
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
        """One block: ``indata`` (frames, input channels), ``outdata`` (frames, output channels), float32."""
        begin = self._clock()
        counts = self.counts
        counts.blocks += 1
        counts.lost_in += bool(status.input_overflow)
        counts.lost_out += bool(status.output_underflow)
        outdata[:] = 0
        if self.error is not None:
            return
        try:
            outdata[:] = self._streamer.feed(indata.mean(axis=1))[:, None]
        except Exception as error:  # whatever it is, the caller of the sound library shall see it
            self.error = error
            self._stop()
        took = self._clock() - begin
        counts.busy_s += took
        counts.worst_s = max(counts.worst_s, took)
        counts.late += took > frames / self._streamer.sample_rate
