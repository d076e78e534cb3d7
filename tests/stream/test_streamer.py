"""What a streamer promises beyond its sound: latency, settings, state, threads, faults."""

from __future__ import annotations

import math
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lite_rtse_ext.signal import HOP_LENGTH
from lite_rtse_ext.stream import LATENCY_SAMPLES, Network, Streamer, process_batch
from tests.stream.conftest import Samples, cut, hops, network, noise, relative, run


def test_latency_is_32_ms(small: Network) -> None:
    """An impulse comes out 512 samples after it went in, wherever it stands and however the signal is cut."""
    for position in (0, 1, 100, 255, 256, 700):
        impulse = np.zeros(2048, np.float32)
        impulse[position] = 1
        for blocks in ([impulse], hops(impulse), cut(impulse, [1] * 2048)):
            streamer = Streamer(small, compensate_delay=False, wet=0)
            out = np.concatenate([streamer.feed(block) for block in blocks])
            assert out.argmax() == position + LATENCY_SAMPLES == position + 0.032 * 16_000
            assert np.delete(np.abs(out), position + LATENCY_SAMPLES).max() < 1e-6


def test_nothing_comes_out_before_its_cause(small: Network) -> None:
    """A sample that changes leaves all output alone that was given before it."""
    one, other = noise(3000), noise(3000)
    other[1500] += 0.5
    live = [Streamer(small, compensate_delay=False).feed(signal) for signal in (one, other)]
    first = int(np.flatnonzero(live[0] != live[1])[0])
    assert 1500 < first <= 1500 + LATENCY_SAMPLES
    for signal in (one, other):  # aligned output comes in whole frames, a frame behind the input
        assert len(Streamer(small).feed(signal[:1500])) == 1500 // HOP_LENGTH * HOP_LENGTH - HOP_LENGTH


@given(sizes=st.lists(st.integers(0, 700), max_size=20))
def test_live_gives_what_it_takes(sizes: list[int]) -> None:
    streamer = Streamer(network("small"), compensate_delay=False)
    for size in sizes:
        assert len(streamer.feed(noise(size))) == size
    assert len(streamer.flush()) == streamer.latency_samples == LATENCY_SAMPLES


def test_dry_is_the_input(small: Network) -> None:
    signal = noise(5000)
    assert relative(run(Streamer(small, wet=0), hops(signal)), signal) < 1e-6


def test_wet_and_attenuation_limit_mix(small: Network) -> None:
    signal = noise(5000)
    enhanced = run(Streamer(small), hops(signal))
    half = run(Streamer(small, wet=0.5), hops(signal))
    assert relative(half, (enhanced + signal) / 2) < 1e-6
    limited = run(Streamer(small, attenuation_limit_db=20.0), hops(signal))
    assert relative(limited, (0.9 * enhanced + 0.1 * signal).astype(np.float32)) < 1e-6
    both = run(Streamer(small, attenuation_limit_db=20.0, wet=0.5), hops(signal))
    assert relative(both, (0.45 * enhanced + 0.55 * signal).astype(np.float32)) < 1e-6
    np.testing.assert_allclose(run(Streamer(small, attenuation_limit_db=0), hops(signal)), signal, atol=1e-6)


def test_settings_can_change_on_the_way(small: Network) -> None:
    streamer = Streamer(small)
    assert (streamer.wet, streamer.attenuation_limit_db) == (1.0, None)
    streamer.wet, streamer.attenuation_limit_db = 0.25, 12
    assert (streamer.wet, streamer.attenuation_limit_db) == (0.25, 12.0)
    streamer.attenuation_limit_db = math.inf
    assert streamer.attenuation_limit_db is None
    streamer.wet = 0
    signal = noise(2000)
    assert relative(run(streamer, hops(signal)), signal) < 1e-6


def test_flush_and_reset_begin_anew(small: Network) -> None:
    signal = noise(3000)
    streamer = Streamer(small)
    first = run(streamer, hops(signal))
    np.testing.assert_array_equal(run(streamer, hops(signal)), first)
    streamer.feed(noise(1234, seed=5))
    streamer.reset()
    np.testing.assert_array_equal(run(streamer, hops(signal)), first)
    assert len(streamer.flush()) == 0


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("at", [0, 100, 256, 1500, 2048])
def test_state_is_saved_and_restored(small: Network, live: bool, at: int) -> None:
    signal = noise(4000)
    original, copy = (Streamer(small, compensate_delay=not live) for _ in range(2))
    original.feed(signal[:at])
    state = original.state()
    copy.feed(noise(3333, seed=9))
    copy.restore(state)
    np.testing.assert_array_equal(run(copy, [signal[at:]]), run(original, [signal[at:]]))


def test_a_state_that_does_not_fit_changes_nothing(small: Network) -> None:
    streamer, witness = Streamer(small), Streamer(small)
    signal = noise(2000)
    for each in (streamer, witness):
        each.feed(signal[:1000])
    good = streamer.state()
    for bad, error, words in [
        (good[:-1], ValueError, "it is of another network"),
        (Streamer(network("network")).state(), ValueError, "it is of another network"),
        (Streamer(small, compensate_delay=False).state(), ValueError, "another timing"),
        (Streamer(small, high_pass=False).state(), ValueError, "another high-pass"),
        (np.where(np.arange(len(good)) == len(good) - 1, np.nan, good).astype(np.float32), ValueError, "is damaged"),
        (np.where(np.arange(len(good)) == 10, 256, good).astype(np.float32), ValueError, "is damaged"),
        (np.where(np.arange(len(good)) == 11, 0.5, good).astype(np.float32), ValueError, "is damaged"),
        (np.where(np.arange(len(good)) == 15, -1, good).astype(np.float32), ValueError, "is damaged"),
        (np.where(np.arange(len(good)) == 0, 1, good).astype(np.float32), ValueError, "another format"),
        (np.where(np.arange(len(good) - 8) == 0, 1, good[8:]).astype(np.float32), ValueError, "another format"),
        (good.astype(np.float64), TypeError, "float32"),
        (good[None], TypeError, "one dimension"),
        (b"state", TypeError, "Streamer.state"),
    ]:
        with pytest.raises(error, match=words):
            streamer.restore(bad)
    np.testing.assert_array_equal(run(streamer, [signal[1000:]]), run(witness, [signal[1000:]]))


def test_streamers_run_side_by_side_in_threads(small: Network) -> None:
    def alone(seed: int) -> Samples:
        return run(Streamer(small), cut(noise(20_000, seed), [123] * 50))

    expected = [alone(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for actual, wanted in zip(pool.map(alone, range(8)), expected, strict=True):
            np.testing.assert_array_equal(actual, wanted)


def test_the_gil_is_free_while_it_works(small: Network) -> None:
    """Python code runs in another thread during one long feed; with the GIL held it could not."""
    streamer = Streamer(small)
    counted, done = 0, threading.Event()

    def work() -> None:
        streamer.feed(noise(16_000 * 20))
        done.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        while not done.wait(1e-4):
            counted += 1
        thread.join()
    finally:
        sys.setswitchinterval(before)
    assert counted > 3


def test_a_streamer_in_use_refuses_a_second_thread(small: Network) -> None:
    streamer = Streamer(small)
    thread = threading.Thread(target=lambda: streamer.feed(noise(16_000 * 60)))
    thread.start()

    def try_until_it_is_done() -> None:
        while thread.is_alive():
            streamer.state()

    with pytest.raises(RuntimeError, match="in use by another thread"):
        try_until_it_is_done()
    thread.join()
    streamer.feed(noise(10))


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["network", "small"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 16, 19])
def test_a_batch_is_its_streams_one_by_one(name: str, count: int) -> None:
    signals = [noise(1500 + 31 * k, seed=k) for k in range(count)]
    alone = [run(Streamer(network(name)), [signal]) for signal in signals]
    streamers = [Streamer(network(name)) for _ in signals]
    # Blocks of different lengths: some streams complete a frame, or two, where others complete none.
    pieces = [cut(signal, [300 + 13 * k, 0, 700 - 11 * k]) for k, signal in enumerate(signals)]
    parts = [process_batch(streamers, list(blocks)) for blocks in zip(*pieces, strict=True)]
    for k, streamer in enumerate(streamers):
        together = np.concatenate([*(part[k] for part in parts), streamer.flush()])
        np.testing.assert_array_equal(together, alone[k])


@pytest.mark.parametrize("live", [False, True])
def test_a_batch_of_several_rates(small: Network, live: bool) -> None:
    rates = (16_000, 48_000, 8000, 48_000)

    def streamers() -> list[Streamer]:
        return [Streamer(small, sample_rate=rate, compensate_delay=not live) for rate in rates]

    signals = [noise(rate // 4, seed=k) for k, rate in enumerate(rates)]
    alone = [run(streamer, cut(x, [1000, 0])) for streamer, x in zip(streamers(), signals, strict=True)]
    many = streamers()
    pieces = [cut(signal, [1000, 0]) for signal in signals]
    parts = [process_batch(iter(many), iter(blocks)) for blocks in zip(*pieces, strict=True)]
    for k, streamer in enumerate(many):
        together = np.concatenate([*(part[k] for part in parts), streamer.flush()])
        np.testing.assert_array_equal(together, alone[k])


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_an_overflow_in_a_batch_is_reported_once(small: Network, rate: int) -> None:
    streamers = [Streamer(small, sample_rate=rate, compensate_delay=False) for _ in range(3)]
    fine = noise(rate // 4)
    loud = np.copysign(np.float32(3e38), fine)
    with pytest.raises(FloatingPointError, match="not finite"):
        process_batch(streamers, [loud, fine, loud])
    for _ in range(3):  # and every stream goes on, giving what it takes
        try:
            parts = process_batch(streamers, [fine, fine, fine])
        except FloatingPointError:  # what soxr still held of the loud part
            continue
        assert [len(part) for part in parts] == [rate // 4] * 3
    assert all(np.isfinite(part).all() for part in process_batch(streamers, [fine] * 3))


def test_a_batch_refuses_what_does_not_fit(small: Network) -> None:
    streamer, block = Streamer(small), noise(256)
    assert process_batch([], []) == []
    for streamers, blocks, words in [
        ([streamer], [block, block], r"one per streamer \(1\), got 2"),
        ([streamer, Streamer(network("network"))], [block, block], "number 1 has another"),
        ([streamer], [np.array([np.nan], np.float32)], "sample 0 is nan"),
    ]:
        with pytest.raises(ValueError, match=words):
            process_batch(streamers, blocks)
    with pytest.raises(RuntimeError, match="listed twice"):
        process_batch([streamer, streamer], [block, block])
    assert len(run(streamer, [block])) == 256  # and it goes on


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(small: Network, bad: float) -> None:
    streamer, witness = Streamer(small), Streamer(small)
    signal = noise(2000)
    broken = signal[:700].copy()
    broken[600] = bad
    for each in (streamer, witness):
        each.feed(signal[:700])
    with pytest.raises(ValueError, match=f"sample 600 is {bad}"):
        streamer.feed(broken)
    np.testing.assert_array_equal(run(streamer, [signal[700:]]), run(witness, [signal[700:]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_muted_they_are_silence_and_counted(small: Network, bad: float) -> None:
    broken, zeroed = noise(4000), noise(4000)
    broken[1000:1100] = bad
    zeroed[1000:1100] = 0
    streamer = Streamer(small, on_fault="mute")
    np.testing.assert_array_equal(run(streamer, hops(broken)), run(Streamer(small), hops(zeroed)))
    assert streamer.faults == (100, 0)


def test_an_overflow_does_not_last(small: Network) -> None:
    """Where numbers overflow on the way, the next signal is what it would have been for a new streamer."""
    loud = np.concatenate([noise(1000), np.full(600, 3e38, np.float32), np.zeros(448, np.float32)])
    signal = noise(3000)
    streamer = Streamer(small, on_fault="mute")
    out = streamer.feed(loud)
    assert np.isfinite(out).all()
    assert streamer.faults.frames > 0
    frames = streamer.faults.frames
    assert np.isfinite(run(streamer, hops(signal))).all()
    assert streamer.faults.frames == frames
    np.testing.assert_array_equal(run(streamer, hops(signal)), run(Streamer(small), hops(signal)))

    strict = Streamer(small)
    with pytest.raises(FloatingPointError, match="not finite"):
        strict.feed(loud)
    strict.flush()
    np.testing.assert_array_equal(run(strict, hops(signal)), run(Streamer(small), hops(signal)))


def test_no_subnormal_number_stays(small: Network) -> None:
    """A signal that fades out leaves no number behind that is too small to be normal."""
    fading = noise(16_000) * np.exp(-np.arange(16_000) / 150).astype(np.float32)
    for signal in (fading, np.full(4000, 1e-42, np.float32)):
        streamer = Streamer(small)
        streamer.feed(signal)
        streamer.feed(np.zeros(2560, np.float32))
        state = np.abs(streamer.state()[8:])
        assert not ((state > 0) & (state < np.finfo(np.float32).tiny)).any()


def test_clipped_and_huge_samples_pass(small: Network) -> None:
    for level in (1.0, 4.0, 100.0):
        out = run(Streamer(small), hops(np.sign(noise(4000)) * np.float32(level)))
        assert np.isfinite(out).all()


def test_a_feed_that_stalls_goes_on_where_it_was(small: Network) -> None:
    signal = noise(3000)
    streamer = Streamer(small)
    out = [streamer.feed(signal[:1111])]
    out += [streamer.feed(np.empty(0, np.float32)) for _ in range(100)]
    out += [streamer.feed(signal[1111:]), streamer.flush()]
    np.testing.assert_array_equal(np.concatenate(out), run(Streamer(small), [signal]))


# --- arguments --------------------------------------------------------------------------------------------------------


def test_wrong_samples_are_named(small: Network) -> None:
    streamer = Streamer(small)
    for samples, error, words in [
        (np.zeros(4, np.int16), TypeError, "floating type, full scale 1, got int16"),
        (np.zeros(4, complex), TypeError, "complex128"),
        (["a"], TypeError, "floating"),
        (np.zeros((2, 3), np.float32), ValueError, r"\(samples,\), but have \(2, 3\)"),
        (np.float32(1), ValueError, r"have \(\)"),
        (np.array([1e300]), ValueError, "sample 0 is inf"),
    ]:
        with pytest.raises(error, match=words):
            streamer.feed(samples)


def test_other_layouts_of_the_same_samples(small: Network) -> None:
    signal = noise(2000)
    expected = run(Streamer(small), [signal])
    every_other = np.repeat(signal, 2)[::2]
    read_only = signal.copy()
    read_only.flags.writeable = False
    for same in (signal.astype(np.float64), every_other, read_only, signal.tolist(), signal.astype(">f4")):
        np.testing.assert_array_equal(run(Streamer(small), [same]), expected)


def test_wrong_arguments_are_named(small: Network) -> None:
    for arguments, words in [
        ({"wet": 1.5}, "wet: expected a share from 0 to 1, got 1.5"),
        ({"wet": float("nan")}, "wet: expected a share"),
        ({"attenuation_limit_db": -1}, "attenuation_limit_db: expected None or a number of dB from 0 up, got -1"),
        ({"attenuation_limit_db": float("nan")}, "attenuation_limit_db: expected"),
        ({"on_fault": "ignore"}, "on_fault: expected 'raise' or 'mute', got 'ignore'"),
        ({"channels": 0}, "channels: expected a whole number from 1 to 64, got 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            Streamer(small, **arguments)
    with pytest.raises(TypeError, match="network: expected a Network, got str: see"):
        Streamer("model.safetensors")  # type: ignore[arg-type]
