"""The live callback, driven by a device and a clock that are not real."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lite_rtse_ext.cli import main
from lite_rtse_ext.cli.commands.live import summary
from lite_rtse_ext.stream import Streamer
from lite_rtse_ext.stream.live import Counts, LiveCallback
from tests.stream.conftest import Samples, model, network, noise


@dataclass
class Clock:
    """Seconds that pass only where a test lets them."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Device:
    """A sound card that calls back for each block of a recording and keeps what it is given to play."""

    def __init__(self, callback: Any, clock: Clock, rate: int, block: int, channels: tuple[int, int]) -> None:
        self.callback, self.clock, self.rate, self.block, self.channels = callback, clock, rate, block, channels
        self.played: list[Samples] = []

    def run(self, recording: Samples) -> Samples:
        for start in range(0, len(recording) - self.block + 1, self.block):
            indata = np.repeat(recording[start : start + self.block, None], self.channels[0], axis=1)
            outdata = np.full((self.block, self.channels[1]), np.nan, np.float32)
            begin = self.clock.now
            status = SimpleNamespace(input_overflow=False, output_underflow=begin * self.rate > start + 2 * self.block)
            self.callback(indata, outdata, self.block, None, status)
            assert (outdata == outdata[:, :1]).all()
            self.played.append(outdata[:, 0])
            self.clock.now = max(self.clock.now, begin + self.block / self.rate)
        return np.concatenate(self.played)


class Slow(Streamer):
    """A streamer whose feed takes as long as it is told, by the clock of the test."""

    clock: Clock
    seconds = 0.0

    def feed(self, samples: Any) -> Samples:
        self.clock.now += self.seconds
        return super().feed(samples)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_linked_channels_are_played_apart(outputs: int) -> None:
    streamer, witness = (
        Streamer(network("small"), sample_rate=48_000, channels=2, compensate_delay=False) for _ in range(2)
    )
    recording = noise(20_000).reshape(-1, 2)
    callback = LiveCallback(streamer, Clock(), pytest.fail)
    played = np.full((len(recording), outputs), np.nan, np.float32)
    status = SimpleNamespace(input_overflow=False, output_underflow=False)
    for start in range(0, len(recording), 500):
        block = slice(start, start + 500)
        callback(recording[block], played[block], 500, None, status)
    expected = witness.feed(recording)
    expected = expected if outputs == 2 else np.repeat(expected.mean(axis=1, keepdims=True), outputs, axis=1)
    np.testing.assert_allclose(played, expected, atol=1e-7)


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("block", [64, 256, 1000])
@pytest.mark.parametrize("channels", [(1, 1), (2, 2), (1, 2)])
def test_what_is_played_is_the_streamers_output(rate: int, block: int, channels: tuple[int, int]) -> None:
    clock, recording = Clock(), noise(20_000)
    streamer = Streamer(network("small"), sample_rate=rate, compensate_delay=False)
    callback = LiveCallback(streamer, clock, pytest.fail)
    played = Device(callback, clock, rate, block, channels).run(recording)
    expected = Streamer(network("small"), sample_rate=rate, compensate_delay=False).feed(recording)
    np.testing.assert_array_equal(played, expected[: len(played)])
    assert callback.error is None
    assert (callback.counts.blocks, callback.counts.late) == (len(recording) // block, 0)


def test_late_blocks_are_counted() -> None:
    clock = Clock()
    streamer = Slow(network("small"), compensate_delay=False)
    streamer.clock, streamer.seconds = clock, 0.020
    callback = LiveCallback(streamer, clock, pytest.fail)
    Device(callback, clock, 16_000, 256, (1, 1)).run(noise(2560))
    counts = callback.counts
    assert (counts.blocks, counts.late, counts.lost_in) == (10, 10, 0)
    assert counts.lost_out > 0
    assert counts.worst_s == pytest.approx(0.020)
    assert counts.busy_s == pytest.approx(0.200)


def test_bad_samples_do_not_end_a_call() -> None:
    recording = noise(5120)
    recording[1000] = np.nan
    clock, streamer = Clock(), Streamer(network("small"), compensate_delay=False, on_fault="mute")
    callback = LiveCallback(streamer, clock, pytest.fail)
    assert np.isfinite(Device(callback, clock, 16_000, 256, (1, 1)).run(recording)).all()
    assert streamer.faults == (1, 0)
    assert callback.error is None


def test_an_error_stops_it_and_is_kept() -> None:
    recording = noise(2560)
    recording[1000] = np.nan
    clock, stops = Clock(), []
    callback = LiveCallback(Streamer(network("small"), compensate_delay=False), clock, lambda: stops.append(clock.now))
    played = Device(callback, clock, 16_000, 256, (1, 1)).run(recording)
    assert isinstance(callback.error, ValueError)
    assert len(stops) == 1
    assert not played[768:].any()


def test_a_streamer_that_is_not_live_is_refused() -> None:
    with pytest.raises(ValueError, match="compensate_delay=False"):
        LiveCallback(Streamer(network("small")), Clock(), pytest.fail)


# --- the command, with a sound library that is not real ---------------------------------------------------------------


def fake_sounddevice(recording: Samples, played: list[Samples]) -> SimpleNamespace:
    """As much of sounddevice as the command uses; a stream calls back for the whole recording when it is opened."""

    class PortAudioError(Exception):
        pass

    class Stream:
        def __init__(self, **settings: Any) -> None:
            if settings["device"][0] == "broken":
                raise PortAudioError("Invalid sample rate")
            self.settings, self.latency = settings, (0.01, 0.01)

        def __enter__(self) -> Stream:
            s = self.settings
            device = Device(s["callback"], Clock(), s["samplerate"], s["blocksize"], s["channels"])
            played.append(device.run(recording))
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def query_devices(device: object = None, kind: str | None = None) -> Any:
        if device == 99:
            raise PortAudioError("Error querying device 99")
        return "0 a microphone" if kind is None else {f"max_{kind}_channels": 8}

    return SimpleNamespace(PortAudioError=PortAudioError, Stream=Stream, query_devices=query_devices)


@pytest.fixture
def live(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command on noise; what it plays is in the list ``live.played``."""
    path = tmp_path / "small.safetensors"
    model("small").save_checkpoint(path)
    played: list[Samples] = []
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", fake_sounddevice(noise(5120), played))
    monkeypatch.setattr("lite_rtse_ext.utils.extras.find_spec", lambda name: name)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["live", "--checkpoint", str(path), "--seconds", "0", *arguments])

    run.played = played  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize("option", ["--extra-reduction", "--attenuation-limit", "--seconds"])
@pytest.mark.parametrize("wrong", ["nan", "-1"])
def test_the_command_names_the_option_that_is_wrong(live: Any, option: str, wrong: str) -> None:
    result = live(option, wrong)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': " in result.stderr


def test_the_command_plays_what_it_hears(live: Any) -> None:
    result = live("--attenuation-limit", "12", "--extra-reduction", "6")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("20 blocks, ")
    assert "0 faults" in result.stdout
    assert "about 52 ms behind" in result.stderr
    streamer = Streamer(network("small"), compensate_delay=False, attenuation_limit_db=12, extra_reduction_db=6)
    np.testing.assert_array_equal(live.played[0], streamer.feed(noise(5120)))


def test_the_command_can_leave_an_offset_alone(live: Any) -> None:
    assert live("--no-high-pass").exit_code == 0
    streamer = Streamer(network("small"), compensate_delay=False, high_pass=False)
    np.testing.assert_array_equal(live.played[0], streamer.feed(noise(5120)))


def test_the_command_lists_devices(live: Any) -> None:
    assert live("--devices").stdout == "0 a microphone\n"


@pytest.mark.parametrize(("device", "words"), [("broken", "Invalid sample rate"), ("99", "Error querying device 99")])
def test_what_the_device_refuses_is_one_line(live: Any, device: str, words: str) -> None:
    result = live("--input", device)
    assert result.exit_code == 1
    assert result.stderr == f"Error: the sound device refused: {words}\n"


def test_the_longest_time_is_no_error(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("threading.Event.wait", lambda event, seconds: waits.append(seconds))
    assert live("--seconds", "inf").exit_code == 0
    assert waits == [threading.TIMEOUT_MAX]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lite_rtse_ext.utils.extras.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["live"])
    assert result.exit_code == 1
    assert result.stderr == "Error: live sound needs sounddevice: pip install 'lite-rtse-ext[live]'\n"


def test_summary_of_nothing() -> None:
    assert summary(Counts(), 0) == "no sound came in"
