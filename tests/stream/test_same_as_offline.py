"""What comes out in pieces is what the model makes of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lite_rtse_ext.enhance import SEGMENT_FRAMES, enhance_waveform
from lite_rtse_ext.signal import HOP_LENGTH
from lite_rtse_ext.stream import LATENCY_SAMPLES, Streamer
from tests.stream.conftest import CONFIGS, TOLERANCE, Samples, cut, hops, model, network, noise, offline, relative, run


@pytest.mark.parametrize("high_pass", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_each_configuration(name: str, high_pass: bool) -> None:
    signal = noise(20 * HOP_LENGTH + 100)
    out = run(Streamer(network(name), high_pass=high_pass), hops(signal))
    assert relative(out, offline(name, signal, high_pass)) <= TOLERANCE


@given(
    length=st.integers(0, 12 * HOP_LENGTH),
    sizes=st.lists(st.one_of(st.integers(0, 40), st.integers(0, 1000)), max_size=40),
    seed=st.integers(0, 2**32 - 1),
    high_pass=st.booleans(),
)
def test_any_length_and_any_cuts(length: int, sizes: list[int], seed: int, high_pass: bool) -> None:
    signal = noise(length, seed)
    whole = offline("small", signal, high_pass)
    assert relative(run(Streamer(network("small"), high_pass=high_pass), cut(signal, sizes)), whole) <= TOLERANCE
    late = run(Streamer(network("small"), high_pass=high_pass, compensate_delay=False), cut(signal, sizes))
    assert not late[:LATENCY_SAMPLES].any()
    assert relative(late[LATENCY_SAMPLES:], whole) <= TOLERANCE


@pytest.mark.parametrize("length", [1, 255, 256, 257, 511, 512, 513])
def test_the_first_and_last_frames(length: int) -> None:
    signal = noise(length)
    assert relative(run(Streamer(network("small")), [signal]), offline("small", signal)) <= TOLERANCE


def test_sample_by_sample() -> None:
    signal = noise(1000)
    blocks = cut(signal, [1] * len(signal))
    together = run(Streamer(network("small")), [signal])
    np.testing.assert_array_equal(run(Streamer(network("small")), blocks), together)


def signals() -> dict[str, Samples]:
    time = np.arange(8000) / 16_000
    square = np.sign(np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    speechlike = noise(8000) * (np.sin(2 * np.pi * 3 * time) > 0)
    return {
        "full scale": square,
        "quiet": (1e-4 * square).astype(np.float32),
        "constant": np.ones(8000, np.float32),
        "bursts": speechlike.astype(np.float32),
        "noise then silence": np.concatenate([noise(4000), np.zeros(20_000, np.float32)]),
    }


@pytest.mark.parametrize("high_pass", [True, False])
@pytest.mark.parametrize("name", signals())
def test_kinds_of_signals(name: str, high_pass: bool) -> None:
    signal = signals()[name]
    out = run(Streamer(network("network"), high_pass=high_pass), hops(signal))
    assert relative(out, offline("network", signal, high_pass)) <= TOLERANCE


def test_silence_is_silence() -> None:
    signal = np.zeros(8000, np.float32)
    assert not run(Streamer(network("network")), hops(signal)).any()
    assert not offline("network", signal).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["network", "full"])
def test_ten_minutes(name: str) -> None:
    minutes = 10 * 60 * 16_000
    signal = noise(minutes) * np.repeat(np.random.default_rng(1).random(minutes // 4000), 4000).astype(np.float32)
    whole = enhance_waveform(model(name), torch.from_numpy(signal), segment_frames=SEGMENT_FRAMES).numpy()
    assert relative(run(Streamer(network(name)), cut(signal, [777] * 5000)), whole) <= TOLERANCE
