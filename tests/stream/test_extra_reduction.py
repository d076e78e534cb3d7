"""The minimum gain during a call: as with parameters that were changed before it, in the frames that it is set for."""

from __future__ import annotations

import copy
import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.stream import Network, Streamer, enhance_blocks, process_batch
from tests.stream.conftest import CONFIGS, HOP_LENGTH, MIN_GAIN, Samples, cut, model, network, noise, relative, run

EXTRAS_DB = (0.5, 6.0, 20.0, math.inf)


@lru_cache
def changed(name: str, extra_db: float, precision: Any = "float32") -> Network:
    """The network of that name, or the trained one, whose parameters have a lower minimum gain."""
    lower = LiteRTSE.from_pretrained() if name == "trained" else copy.deepcopy(model(name))
    lower.reduce_more(extra_db)
    return Network.from_model(lower, precision)


@lru_cache
def usual(name: str, precision: Any = "float32") -> Network:
    return Network.from_pretrained(precision=precision) if name == "trained" else network(name, precision)


def cosine(a: Samples, b: Samples) -> float:
    wide, other = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(wide @ other / (np.linalg.norm(wide) * np.linalg.norm(other)))


@pytest.mark.parametrize("extra_db", EXTRAS_DB)
@pytest.mark.parametrize("name", [*CONFIGS, "trained"])
def test_as_with_changed_parameters(name: str, extra_db: float) -> None:
    signal = noise(8000)
    got = run(Streamer(usual(name), extra_reduction_db=extra_db), cut(signal, [100, 3000]))
    expected = run(Streamer(changed(name, extra_db)), [signal])
    assert relative(got, expected) < 2e-6
    assert cosine(got, expected) > 1 - 1e-11
    assert relative(got, run(Streamer(usual(name)), [signal])) > 1e-3


@pytest.mark.parametrize("precision", ["int24", "int16", "int8"])
@pytest.mark.parametrize("name", ["small", "trained"])
def test_as_with_changed_parameters_in_every_precision(name: str, precision: str) -> None:
    """A row of integers and its scale change together, up to a few roundings of single weights."""
    signal = noise(8000)
    got = run(Streamer(usual(name, precision), extra_reduction_db=12), [signal])
    assert relative(got, run(Streamer(changed(name, 12.0, precision)), [signal])) < 2e-5


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_as_with_changed_parameters_at_other_rates(rate: int, channels: int) -> None:
    """The gain of the highest band, with which what lies above 8 kHz passes, has the lower minimum gain, too."""
    signal = noise(channels * rate // 2).reshape(-1, channels)
    signal = signal if channels > 1 else signal[:, 0]
    options: dict[str, Any] = {"sample_rate": rate, "channels": channels, "compensate_delay": False}
    got = run(Streamer(usual("trained"), extra_reduction_db=6, **options), cut(signal, [100, 3000]))
    assert relative(got, run(Streamer(changed("trained", 6.0), **options), [signal])) < 2e-6
    assert relative(got, run(Streamer(usual("trained"), **options), [signal])) > 0.1


def test_nothing_changes_without_one() -> None:
    """Nor if another value was set before the first frame."""
    signal, unknown = noise(4000), Network(network("small")._weights)
    assert unknown.min_gain is None
    expected = run(Streamer(unknown), [signal])
    streamer = Streamer(network("small"), extra_reduction_db=0)
    np.testing.assert_array_equal(run(streamer, [signal]), expected)
    for extra_db in (6, math.inf, 0):
        streamer.extra_reduction_db = extra_db
    np.testing.assert_array_equal(run(streamer, [signal]), expected)


@pytest.mark.parametrize("at", [4 * HOP_LENGTH, 4 * HOP_LENGTH + 1, 5 * HOP_LENGTH - 1])
def test_it_takes_effect_from_the_next_frame_on(at: int) -> None:
    """In the first half of that frame's window the frame before fades out."""
    signal = noise(10 * HOP_LENGTH)
    before, after = (run(Streamer(network("small"), extra_reduction_db=extra_db), [signal]) for extra_db in (0, 20))
    streamer = Streamer(network("small"))
    first = streamer.feed(signal[:at])
    streamer.extra_reduction_db = 20
    assert streamer.extra_reduction_db == 20
    got = np.concatenate([first, run(streamer, [signal[at:]])])
    begin, end = 3 * HOP_LENGTH, 4 * HOP_LENGTH
    np.testing.assert_array_equal(got[:begin], before[:begin])
    np.testing.assert_array_equal(got[end:], after[end:])
    assert not np.array_equal(got[begin:end], before[begin:end])
    assert not np.array_equal(got[begin:end], after[begin:end])


def test_a_change_within_a_frame_leaves_no_trace() -> None:
    signal = noise(3000)
    streamer = Streamer(network("small"))
    got = []
    for block in cut(signal, [100] * 29):
        streamer.extra_reduction_db = math.inf
        streamer.extra_reduction_db = 0
        got.append(streamer.feed(block))
    got.append(streamer.flush())
    np.testing.assert_array_equal(np.concatenate(got), run(Streamer(network("small")), [signal]))


def test_in_a_batch_each_has_its_own() -> None:
    options: list[dict[str, Any]] = [
        {"extra_reduction_db": extra_db, "sample_rate": rate, "wet": wet}
        for extra_db in (0.0, 6.0, math.inf)
        for rate in (16_000, 48_000)
        for wet in (1.0, 0.5)
    ]
    streamers = [Streamer(network("small"), **each) for each in options]
    signals = [noise(2000 + 100 * number, number) for number in range(len(options))]
    got = [*zip(process_batch(streamers, signals), (each.flush() for each in streamers), strict=True)]
    for each, signal, parts in zip(options, signals, got, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), run(Streamer(network("small"), **each), [signal]))


def test_it_is_a_setting_and_no_state() -> None:
    signal = noise(4000)
    original = Streamer(network("small"), extra_reduction_db=20)
    original.feed(signal[:1000])
    state = original.state()
    same, other = Streamer(network("small"), extra_reduction_db=20), Streamer(network("small"))
    for each in (same, other):
        each.restore(state)
    rest = run(original, [signal[1000:]])
    np.testing.assert_array_equal(run(same, [signal[1000:]]), rest)
    assert other.extra_reduction_db == 0
    assert not np.array_equal(run(other, [signal[1000:]]), rest)
    original.reset()
    assert original.extra_reduction_db == 20


def test_channels_that_are_not_linked_have_the_same() -> None:
    signal = noise(4000).reshape(-1, 2)
    got = np.concatenate([*enhance_blocks(network("small"), [signal], 16_000, 2, extra_reduction_db=12)])
    for channel in range(2):
        expected = run(Streamer(network("small"), extra_reduction_db=12), [signal[:, channel].copy()])
        np.testing.assert_array_equal(got[:, channel], expected)


def test_with_a_limited_attenuation_both_hold() -> None:
    """The limit mixes in the noisy signal, whatever the minimum gain is."""
    signal = noise(4000)
    lower = run(Streamer(network("small"), extra_reduction_db=12), [signal])
    both = run(Streamer(network("small"), extra_reduction_db=12, attenuation_limit_db=20), [signal])
    np.testing.assert_allclose(both, 0.9 * lower + 0.1 * signal, atol=1e-6)


def test_weights_that_do_not_state_their_minimum_gain_are_refused() -> None:
    unknown = Network(network("small")._weights)
    streamer = Streamer(unknown, extra_reduction_db=0)
    expected = r"^extra_reduction_db: expected 0 for weights that do not state their min_gain, got 6$"
    with pytest.raises(ValueError, match=expected):
        streamer.extra_reduction_db = 6
    with pytest.raises(ValueError, match=expected):
        Streamer(unknown, extra_reduction_db=6)
    streamer.extra_reduction_db = 0
    assert streamer.extra_reduction_db == 0


@pytest.mark.parametrize("wrong", [(), (0.1,), (0, 0, 0, 0), (0.1, 1), (-0.1, 0), (math.nan, 0), 0.1, "12", (True, 0)])
def test_a_wrong_minimum_gain_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^min_gain: expected two or three numbers from 0 to below 1, got "):
        Network(network("small")._weights, min_gain=wrong)


def test_a_network_knows_its_minimum_gain() -> None:
    assert network("small").min_gain == MIN_GAIN
    assert usual("trained").min_gain == (0.07, 0.2, 0.4)
    assert Network(network("small")._weights, min_gain=[0, 0.5]).min_gain == (0, 0.5)
    wrapped = torch.nn.DataParallel(model("small"))
    assert Network.from_model(wrapped).min_gain == MIN_GAIN
