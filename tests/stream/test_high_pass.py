"""The high-pass of the streaming engine: the same as the offline one, from the first sample to the last."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lite_rtse_ext import _stream
from lite_rtse_ext.audio import high_pass
from lite_rtse_ext.signal import HOP_LENGTH
from lite_rtse_ext.stream import Streamer, enhance_blocks
from tests.stream.conftest import TOLERANCE, Samples, cut, hops, model, network, noise, offline, relative, run


def lifted(samples: int, offset: float = 0.3, seed: int = 0) -> Samples:
    return noise(samples, seed) + np.float32(offset)


def test_both_have_the_same_corner() -> None:
    assert _stream.HIGH_PASS_HZ == high_pass.HIGH_PASS_HZ


@given(
    length=st.integers(1, 12 * HOP_LENGTH),
    sizes=st.lists(st.integers(0, 700), max_size=30),
    offset=st.sampled_from([0.0, 0.01, -0.3, 1.0]),
)
def test_it_is_the_offline_one(length: int, sizes: list[int], offset: float) -> None:
    """Also where blocks are empty, at the beginning or anywhere."""
    signal = lifted(length, offset)
    streamer = Streamer(network("small"))
    assert relative(run(streamer, [signal[:0], *cut(signal, sizes)]), offline("small", signal)) <= TOLERANCE


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("constant", [1e-3, 0.3, -1.0])
def test_a_constant_is_silence_from_the_first_sample_on(constant: float, live: bool) -> None:
    streamer = Streamer(network("small"), compensate_delay=not live)
    assert not run(streamer, hops(np.full(5000, constant, np.float32))).any()


def test_it_begins_anew_with_each_signal() -> None:
    streamer = Streamer(network("small"))
    expected = run(streamer, [lifted(3000)])
    run(streamer, [lifted(3000, -0.9, seed=1)])
    np.testing.assert_array_equal(run(streamer, [lifted(3000)]), expected)
    streamer.feed(lifted(1000, 0.9, seed=2))
    streamer.reset()
    np.testing.assert_array_equal(run(streamer, [lifted(3000)]), expected)


@pytest.mark.parametrize("wet", [1.0, 0.5])
@pytest.mark.parametrize("at", [0, 1, 100, 256, 700, 6000])
def test_its_memory_is_in_the_state(at: int, wet: float) -> None:
    signal = lifted(8000)
    original, copy = Streamer(network("small"), wet=wet), Streamer(network("small"), wet=wet)
    original.feed(signal[:at])
    copy.feed(lifted(777, -0.5, seed=1))
    copy.restore(original.state())
    np.testing.assert_array_equal(run(copy, [signal[at:]]), run(original, [signal[at:]]))


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("size", [1, 100, 256, 1000])
def test_what_is_mixed_in_keeps_the_offset(live: bool, size: int) -> None:
    signal = lifted(4000)
    for wet in (0.0, 0.25):
        streamer = Streamer(network("small"), wet=wet, compensate_delay=not live)
        out = run(streamer, cut(signal, [size] * (4000 // size)))
        wanted = wet * offline("small", signal) + (1 - wet) * signal
        assert relative(out[-4000:], wanted.astype(np.float32)) < TOLERANCE


def test_a_change_of_the_share_makes_no_step() -> None:
    """With an offset, the share fades from one frame to the next."""
    streamer = Streamer(network("small"), wet=0)
    parts = [streamer.feed(np.full(2048, 0.5, np.float32))]
    streamer.wet = 1
    out = np.concatenate([*parts, streamer.feed(np.full(2048, 0.5, np.float32)), streamer.flush()])
    np.testing.assert_allclose([out[0], out[-1]], [0.5, 0], atol=1e-6)
    assert np.abs(np.diff(out)).max() < 1.01 * 0.5 / HOP_LENGTH


def test_every_channel_has_its_own() -> None:
    signals = [lifted(3000, offset, seed) for seed, offset in enumerate((0.0, 0.5, -0.2))]
    blocks = enhance_blocks(network("small"), np.array_split(np.stack(signals, axis=1), 7), 16_000, 3)
    for channel, signal in zip(np.concatenate(list(blocks)).T, signals, strict=True):
        assert relative(channel, offline("small", signal)) <= TOLERANCE


@pytest.mark.parametrize("rate", [8000, 48_000])  # at which the latency is a whole number of samples
def test_the_silence_that_flushes_a_live_stream_is_no_step(rate: int) -> None:
    signal = lifted(rate // 2)
    aligned = run(Streamer(network("small"), sample_rate=rate), [signal])
    streamer = Streamer(network("small"), sample_rate=rate, compensate_delay=False)
    live = run(streamer, cut(signal, [100, 3, 2000]))
    assert relative(live[streamer.latency_samples :], aligned) <= TOLERANCE


def test_the_whole_range_of_floats_is_no_overflow() -> None:
    """A sample less the mean may be twice the largest float."""
    signal = np.concatenate([np.full(1000, 3.4e38, np.float32), np.full(1000, -3.4e38, np.float32)])
    streamer = Streamer(network("small"), on_fault="mute", wet=0.5)
    assert np.isfinite(run(streamer, [signal])).all()
    assert streamer.faults.samples == 0
    streamer.feed(signal)
    assert np.isfinite(streamer.state()).all()


def test_without_it_the_constant_stays() -> None:
    signal = lifted(3000, 0.05)
    out = run(Streamer(network("small"), high_pass=False), hops(signal))
    plain = model("small").enhance(torch.from_numpy(signal), high_pass=False).numpy()
    assert relative(out, plain) <= TOLERANCE
    assert relative(out, offline("small", signal)) > 0.01
