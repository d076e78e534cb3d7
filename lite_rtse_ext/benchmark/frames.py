"""Processing time of a frame. The quantiles matter more than the mean, since a late frame is audible as a click."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.signal import HOP_LENGTH, SAMPLE_RATE_HZ
from lite_rtse_ext.stream.network import Network
from lite_rtse_ext.stream.streamer import Streamer, process_batch

FRAME_MS = 1e3 * HOP_LENGTH / SAMPLE_RATE_HZ
"""Length of a hop in milliseconds, 16. A frame that takes longer is late."""

SKIPPED = 20
"""Number of frames at the beginning that are not counted, since the caches fill during them."""

_BARS = 24


@dataclass(frozen=True)
class FrameTimes:
    """Milliseconds per frame, with ``streams`` streams processed together."""

    streams: int
    frames: int
    mean: float
    p50: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, seconds: Sequence[float], streams: int = 1) -> FrameTimes:
        """Compute the statistics from the seconds of each frame."""
        ms = 1e3 * np.asarray(seconds)
        quantiles = (float(q) for q in np.quantile(ms, (0.5, 0.99, 0.999, 1.0)))
        return cls(streams, len(ms), float(ms.mean()), *quantiles)

    @property
    def real_time_factor(self) -> float:
        """Processing time over duration of the audio, summed over all streams."""
        return self.mean / FRAME_MS / self.streams

    @property
    def calls_a_core(self) -> int:
        """Number of streams that one core can process with 10 % of its time to spare."""
        return int(0.9 / self.real_time_factor)


def histogram(seconds: Sequence[float]) -> list[str]:
    """A histogram of the times, as lines of text with the percentage of frames.

    The bins grow geometrically up to the 99.9th percentile. The last bin contains all longer frames.
    """
    ms = 1e3 * np.asarray(seconds)
    low, high = float(ms.min()), float(np.quantile(ms, 0.999))
    edges = np.append(np.geomspace(low, max(high, low * 1.01), _BARS), np.inf)
    counts, _ = np.histogram(ms, edges)
    widest = max(1, int(counts.max()))
    return [
        f"{edge:8.3f} ms {'█' * -(-50 * count // widest):<50} {100 * count / len(ms):6.2f} %"
        for edge, count in zip(edges, counts, strict=False)
    ]


def speech_like(frames: int, seed: int = 0, rate: int = SAMPLE_RATE_HZ) -> NDArray[np.float32]:
    """Noise for timing, float32: ``frames`` times 16 ms, to the nearest sample. Its level varies at 3 Hz."""
    samples = frames * _hop(rate)
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * np.arange(samples) / rate)
    return (0.1 * swell * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def time_frames(step: Callable[[int], object], frames: int, pace_s: float = 0.0) -> list[float]:
    """Time each of ``step(0) … step(frames - 1)``.

    Between two frames of a paced run, the processor does other work or sleeps, as in a call. Its caches are then cold.

    Args:
        step: function of the frame's index.
        frames: number of frames.
        pace_s: seconds from the start of one step to the start of the next. A step that takes longer delays the next.

    Returns:
        Seconds of each step.
    """
    seconds = []
    due = time.perf_counter()
    for frame in range(frames):
        if pace_s:
            time.sleep(max(0.0, due - time.perf_counter()))
            due += pace_s
        begin = time.perf_counter()
        step(frame)
        seconds.append(time.perf_counter() - begin)
    return seconds


def time_interleaved(
    first: Callable[[int], object], second: Callable[[int], object], frames: int
) -> tuple[list[float], list[float]]:
    """Time each step of two functions by turns, so that the machine's speed is the same for both.

    Returns:
        Seconds of each step of the first and of the second.
    """
    steps_of = (first, second)
    seconds = time_frames(lambda turn: steps_of[turn % 2](turn // 2), 2 * frames)
    return seconds[::2], seconds[1::2]


def _hop(rate: int) -> int:
    return round(HOP_LENGTH * rate / SAMPLE_RATE_HZ)


def steps(network: Network, streams: int, frames: int, rate: int = SAMPLE_RATE_HZ) -> Callable[[int], object]:
    """The step for :func:`time_frames`. It processes 16 ms of each stream. Each stream has a different signal."""
    calls = [Streamer(network, sample_rate=rate) for _ in range(streams)]
    signals = np.stack([speech_like(frames, seed, rate) for seed in range(streams)])
    blocks = signals.reshape(streams, frames, _hop(rate))
    if streams == 1:
        return lambda frame: calls[0].feed(blocks[0, frame])
    return lambda frame: process_batch(calls, list(blocks[:, frame]))
