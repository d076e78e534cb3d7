"""How long a frame takes, as a call sees it: not the mean but its quantiles, for the worst frame is what clicks."""

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
"""16: a frame that takes longer comes too late."""

SKIPPED = 20
"""Frames at the beginning that are not counted: the caches fill in them."""

_BARS = 24


@dataclass(frozen=True)
class FrameTimes:
    """Milliseconds a frame, of ``streams`` calls at a time."""

    streams: int
    frames: int
    mean: float
    p50: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, seconds: Sequence[float], streams: int = 1) -> FrameTimes:
        """From what each frame took."""
        ms = 1e3 * np.asarray(seconds)
        quantiles = (float(q) for q in np.quantile(ms, (0.5, 0.99, 0.999, 1.0)))
        return cls(streams, len(ms), float(ms.mean()), *quantiles)

    @property
    def real_time_factor(self) -> float:
        """Time taken over length of the audio, all calls together."""
        return self.mean / FRAME_MS / self.streams

    @property
    def calls_a_core(self) -> int:
        """How many calls one core carries with a tenth of its time to spare."""
        return int(0.9 / self.real_time_factor)


def histogram(seconds: Sequence[float]) -> list[str]:
    """What share of the frames took how long, as lines of text; each begins a few per cent above the one before,
    and the last is all that is longer."""
    ms = 1e3 * np.asarray(seconds)
    low, high = float(ms.min()), float(np.quantile(ms, 0.999))
    edges = np.append(np.geomspace(low, max(high, low * 1.01), _BARS), np.inf)
    counts, _ = np.histogram(ms, edges)
    widest = max(1, int(counts.max()))
    return [
        f"{edge:8.3f} ms {'█' * -(-50 * count // widest):<50} {100 * count / len(ms):6.2f} %"
        for edge, count in zip(edges, counts, strict=False)
    ]


def speech_like(frames: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise that swells and falls a few times a second, ``(frames * 256,)``: for timing, no two frames alike."""
    samples = frames * HOP_LENGTH
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * np.arange(samples) / SAMPLE_RATE_HZ)
    return (0.1 * swell * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def time_frames(step: Callable[[int], object], frames: int, pace_s: float = 0.0) -> list[float]:
    """Seconds of each of ``step(0) … step(frames - 1)``, begun ``pace_s`` after one another if they are done by then.

    Paced, the processor has other things to do between two frames, or sleeps, as in a call; its caches are then cold.
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


def steps(network: Network, streams: int, frames: int) -> Callable[[int], object]:
    """What :func:`time_frames` takes: frame after frame of so many calls, each with a signal of its own."""
    calls = [Streamer(network) for _ in range(streams)]
    signals = np.stack([speech_like(frames, seed) for seed in range(streams)])
    blocks = signals.reshape(streams, frames, HOP_LENGTH)
    if streams == 1:
        return lambda frame: calls[0].feed(blocks[0, frame])
    return lambda frame: process_batch(calls, list(blocks[:, frame]))
