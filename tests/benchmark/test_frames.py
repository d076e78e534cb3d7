"""The figures of the stream's benchmark, from times that are given: none is measured here."""

from __future__ import annotations

import numpy as np
import pytest

from lite_rtse_ext.benchmark.frames import FRAME_MS, FrameTimes, histogram, speech_like, steps, time_frames
from lite_rtse_ext.signal import HOP_LENGTH
from tests.stream.conftest import network


def test_quantiles_and_what_follows_from_them() -> None:
    times = FrameTimes.of([1e-3] * 989 + [2e-3] * 11)
    assert (times.frames, times.p50, times.p99, times.max) == (1000, 1.0, 2.0, 2.0)
    assert times.real_time_factor == pytest.approx(1.011 / FRAME_MS)
    assert times.calls_a_core == int(0.9 * 16 / 1.011)
    together = FrameTimes.of([4e-3] * 10, streams=8)
    assert together.real_time_factor == pytest.approx(4 / 16 / 8)
    assert together.calls_a_core == 28


def test_the_histogram_counts_every_frame() -> None:
    seconds = np.random.default_rng(0).gamma(9.0, 1e-4, 5000)
    lines = histogram(list(seconds))
    shares = [float(line.split()[-2]) for line in lines]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert max(len(line) for line in lines) < 120
    assert histogram([1e-3] * 10)[0].endswith("100.00 %")


def test_frames_are_timed_one_by_one_and_at_their_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept, seen = [0.0], [], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    def step(frame: int) -> None:
        seen.append(frame)
        now[0] += 0.003

    monkeypatch.setattr("lite_rtse_ext.benchmark.frames.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("lite_rtse_ext.benchmark.frames.time.sleep", sleep)
    assert time_frames(step, 4, pace_s=0.016) == pytest.approx([0.003] * 4)
    assert seen == [0, 1, 2, 3]
    assert slept == pytest.approx([0.0, 0.013, 0.013, 0.013])


@pytest.mark.parametrize("streams", [1, 3])
def test_what_is_timed_is_what_streams_do(streams: int) -> None:
    step = steps(network("small"), streams, 6)
    results = [step(frame) for frame in range(6)]
    last = results[-1] if streams == 1 else results[-1][0]  # type: ignore[index]
    assert len(last) == HOP_LENGTH  # type: ignore[arg-type]
    assert np.any(last)


def test_the_signal_is_the_same_every_time_and_never_silent() -> None:
    signal = speech_like(20)
    np.testing.assert_array_equal(signal, speech_like(20))
    assert signal.reshape(20, HOP_LENGTH).any(axis=1).all()
