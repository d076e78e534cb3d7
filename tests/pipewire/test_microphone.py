"""The configuration of the virtual microphone in a real PipeWire: its sound is that of the command line, to the bit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext import Streamer

from .graph import MONO, Graph, Samples

ROOT = Path(__file__).parent.parent.parent
ATTEMPTS = 5
# A quarter of a second, and a sixth: longer than most delays of a busy machine.
QUANTUM = {16000: 4096, 44100: 8192, 48000: 8192}
MOST_CYCLES = 16

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("pipewire", "pw-cat", "pw-link"))), reason="needs PipeWire and its tools"
)
pytest.importorskip("click")


class Recorded(NamedTuple):
    """The same moments before and after the virtual microphone."""

    heard: Samples
    enhanced: Samples


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("prefix")
    make = ["make", "--silent", "-C", str(ROOT / "csrc" / "ladspa"), "install", f"PREFIX={prefix}"]
    subprocess.run(make, check=True)
    return prefix / "share" / "lite_rtse" / "lite_rtse_microphone.conf"


def noisy(rate: int) -> Samples:
    """Bursts of noise on a chord: two seconds, and silence after it that pw-cat may cut."""
    time_s = np.arange(2 * rate) / rate
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (220, 331, 1700)) / 20
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(time_s)) * (1 + np.sin(2 * np.pi * 3 * time_s))
    return np.concatenate([chord + noise, np.zeros(rate)]).astype(np.float32)


def attempt(folder: Path, configuration: Path, sound: Samples, rate: int, controls: str) -> Recorded | None:
    """What the graph recorded, or None if the machine was too slow for it."""
    file = folder / "sound.wav"
    sf.write(file, sound, rate, subtype="FLOAT")
    with Graph(folder, rate, QUANTUM[rate], configuration) as graph:
        graph.give_ports("lite_rtse_input", "Input", MONO)
        graph.give_ports("lite_rtse", "Output", MONO)
        if controls:
            graph.call("pw-cli", "set-param", str(graph.node("lite_rtse_input")["id"]), "Props", controls)
        links = [
            ("microphone:capture_MONO", "lite_rtse_input:input_MONO"),
            ("lite_rtse:capture_MONO", "recorder:input_FL"),
            ("microphone:capture_MONO", "recorder:input_FR"),
        ]
        enhanced, heard = graph.play_and_record(file, links, ["FL", "FR"]).T
        if graph.was_late or not is_whole(heard, sound):
            return None
        return Recorded(np.ascontiguousarray(heard), np.ascontiguousarray(enhanced))


def is_whole(heard: Samples, sound: Samples) -> bool:
    """Whether the sound came through without a gap, but for the silence at its ends."""
    (where,) = np.nonzero(sound)
    wanted = sound[where[0] : where[-1] + 1]
    (start,) = np.nonzero(heard)
    return len(start) > 0 and np.array_equal(heard[start[0] : start[0] + len(wanted)], wanted)


def recorded(folder: Path, configuration: Path, rate: int, controls: str = "") -> Recorded:
    for number in range(ATTEMPTS):
        (folder / str(number)).mkdir()
        found = attempt(folder / str(number), configuration, noisy(rate), rate, controls)
        if found is not None:
            return found
    pytest.fail(
        f"PipeWire lost sound in each of {ATTEMPTS} attempts: the machine is too slow for cycles of a sixth of a second"
    )


def since_the_start(recorded: Recorded, rate: int, **options: float) -> Recorded:
    """The sound from the plugin's first cycle on.

    The recorder begins some silent cycles earlier or later. In silence the state of the network moves, so that the
    number of these cycles matters. They are counted here: one number of them must give the same samples.
    """
    quantum = QUANTUM[rate]
    for cycles in range(-MOST_CYCLES, MOST_CYCLES):
        silence, skipped = np.zeros(max(cycles, 0) * quantum, np.float32), max(-cycles, 0) * quantum
        if recorded.heard[:skipped].any() or recorded.enhanced[:skipped].any():
            continue
        moments = Recorded(*(np.concatenate([silence, part[skipped:]]) for part in recorded))
        streamer = Streamer.from_pretrained(sample_rate=rate, compensate_delay=False, **options)
        if np.array_equal(streamer.feed(moments.heard), moments.enhanced):
            return moments
    pytest.fail("the virtual microphone gives other samples than Streamer, whenever it began")


def by_command_line(folder: Path, heard: Samples, rate: int, *options: str) -> Samples:
    sf.write(folder / "heard.wav", heard, rate, subtype="FLOAT")
    command = [sys.executable, "-m", "lite_rtse_ext.cli", "enhance", *options, "heard.wav", "enhanced.wav"]
    subprocess.run(command, cwd=folder, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    samples: Samples = sf.read(folder / "enhanced.wav", dtype="float32")[0]
    return samples


@pytest.mark.parametrize("rate", QUANTUM)
def test_equal_to_command_line(configuration: Path, tmp_path: Path, rate: int) -> None:
    """To the bit: nothing in the graph converts the samples, and the plugin runs at the graph's rate."""
    heard, enhanced = since_the_start(recorded(tmp_path, configuration, rate), rate)
    delay = Streamer.from_pretrained(sample_rate=rate).latency_samples
    expected = by_command_line(tmp_path, heard, rate)
    assert np.array_equal(enhanced[delay:], expected[:-delay])
    assert not enhanced[: delay - rate // 50].any()
    assert np.abs(expected).max() > 0.01
    assert np.abs(expected - heard).max() > 0.01


def test_controls(configuration: Path, tmp_path: Path) -> None:
    """As in the documentation: a program sets the controls while the microphone runs."""
    controls = '{ params = [ "lite_rtse:Attenuation limit (dB)" 12.0 "lite_rtse:Wet" 0.75 %s ] }'
    controls %= '"lite_rtse:Extra reduction (dB)" 6.0'
    options = {"attenuation_limit_db": 12.0, "wet": 0.75, "extra_reduction_db": 6.0}
    heard, enhanced = since_the_start(recorded(tmp_path, configuration, 16000, controls), 16000, **options)
    settings = ("--attenuation-limit", "12", "--wet", "0.75", "--extra-reduction", "6")
    expected = by_command_line(tmp_path, heard, 16000, *settings)
    assert np.array_equal(enhanced[512:], expected[:-512])
