"""Sample rates other than 16 kHz."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st

from lite_rtse_ext.audio import resample
from lite_rtse_ext.stream import Streamer
from tests.stream.conftest import Samples, cut, model, network, noise, relative, run

RATES = (8000, 22_050, 44_100, 48_000, 12_345)


def tone(rate: int, seconds: float = 0.6) -> Samples:
    """440 Hz that fades in and out."""
    time = np.arange(round(seconds * rate)) / rate
    return (np.sin(2 * np.pi * 440 * time) * np.sin(np.pi * time / seconds) ** 2).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
def test_as_long_as_it_went_in_and_in_its_place(rate: int) -> None:
    signal = tone(rate)
    out = run(Streamer(network("small"), sample_rate=rate, wet=0), cut(signal, [1000] * 5))
    assert relative(out, signal) < 1e-4


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_it_is_what_resampling_the_whole_gives(rate: int) -> None:
    signal = noise(rate // 2)
    at_16k = resample(signal, rate, 16_000)
    expected = resample(model("small").enhance(torch.from_numpy(at_16k)).numpy(), 16_000, rate, len(signal))
    out = run(Streamer(network("small"), sample_rate=rate), cut(signal, [100, 3, 2000]))
    assert relative(out, expected) <= 1e-5


@given(sizes=st.lists(st.integers(0, 5000), max_size=30), rate=st.sampled_from(RATES))
def test_live_gives_what_it_takes(sizes: list[int], rate: int) -> None:
    streamer = Streamer(network("small"), sample_rate=rate, compensate_delay=False)
    for size in sizes:
        assert len(streamer.feed(noise(size))) == size
    assert len(streamer.flush()) == streamer.latency_samples


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("quality", ["QQ", "HQ"])
def test_latency_is_what_it_says(rate: int, quality: str) -> None:
    """To a sample: 512 samples at 16 kHz need not be a whole number at another rate."""
    streamer = Streamer(network("small"), sample_rate=rate, compensate_delay=False, wet=0, resampling=quality)
    assert math.ceil(0.032 * rate) <= streamer.latency_samples <= 0.4 * rate
    signal = tone(rate)
    out = run(streamer, cut(signal, [441] * 20))
    shift = streamer.latency_samples
    errors = [relative(out[shift + by : shift + by + len(signal) - 1], signal[:-1]) for by in (-1, 0, 1)]
    assert min(errors) < 0.08
    assert min(errors) < relative(out[shift + 8 :][: len(signal) - 8], signal[:-8])


@pytest.mark.parametrize("live", [False, True])
def test_flush_and_reset_begin_anew(live: bool) -> None:
    signal = tone(48_000)
    streamer = Streamer(network("small"), sample_rate=48_000, compensate_delay=not live)
    first = run(streamer, [signal])
    np.testing.assert_array_equal(run(streamer, [signal]), first)
    streamer.feed(signal[:5000])
    streamer.reset()
    np.testing.assert_array_equal(run(streamer, [signal]), first)


def test_nothing_in_nothing_out() -> None:
    assert len(Streamer(network("small"), sample_rate=48_000).flush()) == 0


def test_its_state_cannot_be_saved() -> None:
    streamer = Streamer(network("small"), sample_rate=48_000)
    for call in (streamer.state, lambda: streamer.restore(np.zeros(3, np.float32))):
        with pytest.raises(RuntimeError, match="at 16000 Hz only, not at 48000"):
            call()


def test_a_resampler_later_than_when_it_was_tried_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    streamer = Streamer(network("small"), sample_rate=48_000, compensate_delay=False)

    class Stuck:
        def resample_chunk(self, samples: Samples, last: bool = False) -> Samples:
            return samples[:0]

    monkeypatch.setattr(soxr, "ResampleStream", lambda *_, **__: Stuck())
    streamer.reset()
    with pytest.raises(RuntimeError, match="samples are missing"):
        streamer.feed(noise(48_000))
