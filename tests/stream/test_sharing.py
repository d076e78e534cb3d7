"""Streamers and threads, copies, and what the compiled module is given that is none of its own."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from lite_rtse_ext import _stream
from lite_rtse_ext.stream import Faults, Streamer, enhance_blocks, process_batch
from lite_rtse_ext.stream.live import LiveCallback
from tests.stream.conftest import cut, network, noise, run


@contextmanager
def fed(streamer: Streamer) -> Iterator[None]:
    """Another thread feeds it meanwhile, without a pause."""
    done, errors = threading.Event(), []
    begun = threading.Event()

    def feed() -> None:
        block = noise(2560)
        block[7] = np.nan
        try:
            while not done.is_set():
                streamer.feed(block)
                begun.set()
        except Exception as error:
            errors.append(error)
            begun.set()

    thread = threading.Thread(target=feed)
    thread.start()
    begun.wait(20)
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert errors == []


def set_wet(streamer: Streamer, number: int) -> None:
    streamer.wet = number % 2
    assert streamer.wet == number % 2


def set_limit(streamer: Streamer, number: int) -> None:
    streamer.attenuation_limit_db = None if number % 2 else 12
    assert streamer.attenuation_limit_db == (None if number % 2 else 12)


def set_extra(streamer: Streamer, number: int) -> None:
    streamer.extra_reduction_db = 6 * (number % 3)
    assert streamer.extra_reduction_db == 6 * (number % 3)


def read_faults(streamer: Streamer, number: int) -> None:
    assert streamer.faults.samples > 0
    assert streamer.faults.frames == 0


def read_the_rest(streamer: Streamer, number: int) -> None:
    assert streamer.latency_samples > 0
    assert isinstance(streamer.sample_rate, int)
    assert repr(streamer.network)


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("use", [set_wet, set_limit, set_extra, read_faults, read_the_rest])
def test_settings_and_counters_while_another_thread_feeds(use: Callable[[Streamer, int], None], rate: int) -> None:
    streamer = Streamer(network("small"), sample_rate=rate, on_fault="mute")
    with fed(streamer):
        for number in range(2000):
            use(streamer, number)


def test_threads_that_set_leave_what_was_set_last() -> None:
    """Two settings make one share: none is computed from a value that another thread has replaced."""
    streamer, signal = Streamer(network("small")), noise(3000)

    def set_all(name: str, values: list[Any]) -> None:
        for _ in range(300):
            for value in values:
                setattr(streamer, name, value)

    threads = [
        threading.Thread(target=set_all, args=arguments)
        for arguments in (("wet", [1.0, 0.5]), ("attenuation_limit_db", [None, 12]), ("extra_reduction_db", [0, 6]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = run(Streamer(network("small"), wet=0.5, attenuation_limit_db=12, extra_reduction_db=6), [signal])
    np.testing.assert_array_equal(run(streamer, [signal]), expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("wet", value) for value in (1.5, -0.1, float("nan"), "a", None, True, [0.5])),
        *(("attenuation_limit_db", value) for value in (-1, float("nan"), float("-inf"), "a", True, [12])),
        *(("extra_reduction_db", value) for value in (-1, float("nan"), float("-inf"), "a", None, True, [12])),
    ],
)
def test_a_refused_setting_is_not_kept(name: str, value: Any) -> None:
    settings: dict[str, Any] = {"wet": 0.75, "attenuation_limit_db": 6, "extra_reduction_db": 3}
    streamer, signal = Streamer(network("small"), **settings), noise(2000)
    expected = run(streamer, [signal])
    with pytest.raises((TypeError, ValueError), match=f"{name}: expected "):
        setattr(streamer, name, value)
    assert {each: getattr(streamer, each) for each in settings} == settings
    np.testing.assert_array_equal(run(streamer, [signal]), expected)


def test_on_fault_may_change_between_blocks() -> None:
    streamer, bad = Streamer(network("small")), np.full(10, np.nan, np.float32)
    streamer.on_fault = "mute"
    streamer.feed(bad)
    with pytest.raises(ValueError, match=r"^on_fault: expected 'raise' or 'mute', got 'rais'$"):
        streamer.on_fault = "rais"  # type: ignore[assignment]
    assert (streamer.on_fault, streamer.faults.samples) == ("mute", 10)
    streamer.on_fault = "raise"
    with pytest.raises(ValueError, match="expected finite numbers"):
        streamer.feed(bad)


@pytest.mark.parametrize(
    "name", ["network", "sample_rate", "channels", "compensate_delay", "high_pass", "latency_samples", "faults"]
)
def test_what_the_constructor_fixes_can_not_be_assigned(name: str) -> None:
    streamer = Streamer(network("small"))
    before = getattr(streamer, name)
    with pytest.raises(AttributeError):
        setattr(streamer, name, before)


# --- one bad sample is one bad sample ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("live", [False, True])
def test_one_bad_sample_counts_as_one_at_every_rate(rate: int, live: bool, bad: float) -> None:
    signal = noise(rate // 4)
    broken, zeroed = signal.copy(), signal.copy()
    broken[1000], zeroed[1000] = bad, 0
    options = {"sample_rate": rate, "compensate_delay": not live, "on_fault": "mute"}
    streamers = [Streamer(network("small"), **options) for _ in range(2)]  # type: ignore[arg-type]
    results = [run(each, cut(x, [700, 3, 500])) for each, x in zip(streamers, (broken, zeroed), strict=True)]
    np.testing.assert_array_equal(*results)
    assert [each.faults for each in streamers] == [Faults(1, 0), Faults(0, 0)]


def test_in_a_batch_each_counts_its_own() -> None:
    streamers = [Streamer(network("small"), sample_rate=rate, on_fault="mute") for rate in (16_000, 48_000, 48_000)]
    blocks = [noise(1000) for _ in streamers]
    blocks[0][3] = blocks[1][5] = blocks[1][6] = np.nan
    process_batch(streamers, blocks)
    assert [each.faults.samples for each in streamers] == [1, 2, 0]
    with pytest.raises(TypeError):  # what is refused is not counted
        process_batch(streamers, [*blocks[:2], np.zeros(3, int)])
    assert [each.faults.samples for each in streamers] == [1, 2, 0]


# --- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_copy_is_refused_with_the_way_to_move_it(make: Callable[[object], object], rate: int) -> None:
    streamer = Streamer(network("small"), sample_rate=rate, compensate_delay=False)
    for each in (streamer, LiveCallback(streamer, lambda: 0.0, lambda: None), {"call": [streamer]}):
        if make is copy.copy and each is not streamer:
            continue
        with pytest.raises(TypeError, match=r"can't be pickled or copied: .*from_pretrained.*state\(\).*restore\(\)"):
            make(each)


# --- what is none -----------------------------------------------------------------------------------------------------


def test_the_compiled_module_refuses_none_everywhere() -> None:
    inner = network("small")._network
    stream, block = (
        _stream.Stream(inner, live=False, high_pass=True, rate_hz=16_000, channels=1),
        np.zeros(3, np.float32),
    )
    calls: list[Callable[[], Any]] = [
        lambda: _stream.feed([None], [block]),  # type: ignore[list-item]
        lambda: _stream.feed([stream, None], [block, block]),  # type: ignore[list-item]
        lambda: _stream.feed([stream], [None]),  # type: ignore[list-item]
        lambda: _stream.feed(None, [block]),  # type: ignore[arg-type]
        lambda: _stream.feed([stream], None),  # type: ignore[arg-type]
        lambda: _stream.feed([inner], [block]),  # type: ignore[list-item]
        lambda: _stream.Stream(None, live=False, high_pass=True, rate_hz=16_000, channels=1),  # type: ignore[arg-type]
        lambda: _stream.Stream(inner, live=False, high_pass=True, rate_hz=999, channels=1),
        lambda: _stream.Stream(inner, live=False, high_pass=True, rate_hz=16_000, channels=65),
        lambda: stream.feed(None),  # type: ignore[arg-type]
        lambda: stream.load(None),  # type: ignore[arg-type]
        lambda: stream.set_wet(None),  # type: ignore[arg-type]
        lambda: stream.set_min_gain(None),  # type: ignore[arg-type]
        lambda: _stream.Stream.feed(None, block),  # type: ignore[arg-type]
        lambda: _stream.Network(None, "float32", 1.0, False, None),  # type: ignore[arg-type]
        lambda: _stream.Network({"fc1.weight": None}, "float32", 1.0, False, None),  # type: ignore[dict-item]
        lambda: _stream.Network({}, None, 1.0, False, None),  # type: ignore[arg-type]
        lambda: _stream.Network({}, "float32", 1.0, False, 0.5),  # type: ignore[arg-type]
        lambda: _stream.Network({}, "float32", 1.0, False, ["a", 0.5]),  # type: ignore[list-item]
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            call()
    assert len(stream.feed(np.zeros(512, np.float32))) == 256  # and it still works


def test_what_is_no_streamer_is_named() -> None:
    streamer = Streamer(network("small"))
    for wrong in (None, streamer._stream, "streamer"):
        with pytest.raises(TypeError, match="streamers: expected a Streamer as number 1, got "):
            process_batch([streamer, wrong], [noise(10), noise(10)])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="floating type"):
        process_batch([streamer], [None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="channels: expected a whole number from 1 to 64, got 0"):
        list(enhance_blocks(network("small"), [noise(10)[:, None]], 16_000, 0))
