"""The LADSPA plugin in the hosts of Debian's package ladspa-sdk, against the streamer."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from lite_rtse_ext import Streamer
from lite_rtse_ext.models.pretrained import pretrained_path

ROOT = Path(__file__).parent.parent.parent
PLUGIN = "lite_rtse_ladspa.so"
STEP = 2**-15
USUAL = ("100", "1", "0")  # the values of the input control ports

pytestmark = pytest.mark.skipif(shutil.which("applyplugin") is None, reason="needs ladspa-sdk")

Samples = NDArray[np.float32]


def host(prefix: Path, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LADSPA_PATH": str(prefix / "lib" / "ladspa")} | variables
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix")
    make = ["make", "--silent", "-C", str(ROOT / "csrc" / "ladspa"), "install", f"PREFIX={folder}"]
    subprocess.run(make, check=True)
    return folder


def write_noise(folder: Path, rate: int) -> Path:
    """Half a second, or a few samples at a rate that none can be heard at."""
    samples = 0.1 * np.random.default_rng(0).standard_normal(min(rate // 2, 48000))
    sf.write(folder / "noisy.wav", samples, rate, subtype="PCM_16")
    return folder / "noisy.wav"


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    return write_noise(tmp_path, 16000)


def expected(noisy: Path, **options: Any) -> Samples:
    """The streamer's output, without the silence before it."""
    samples, rate = sf.read(noisy, dtype="float32")
    streamer = Streamer.from_pretrained(sample_rate=rate, compensate_delay=False, **options)
    output: Samples = streamer.feed(samples)
    assert np.abs(output[streamer.latency_samples :]).max() > 100 * STEP
    return output


def apply(prefix: Path, noisy: Path, *ports: str) -> Samples:
    enhanced = noisy.with_name("enhanced.wav")
    done = host(prefix, "applyplugin", noisy, enhanced, PLUGIN, "lite_rtse_mono", *ports)
    assert done.returncode == 0, done.stderr
    samples, rate = sf.read(enhanced, dtype="float32")
    assert rate == sf.info(noisy).samplerate
    return np.asarray(samples, np.float32)


def test_ports(prefix: Path) -> None:
    output = host(prefix, "analyseplugin", PLUGIN, "lite_rtse_mono").stdout
    assert '"Attenuation limit (dB)" input, control, 0 to 100, default 100' in output
    assert '"Wet" input, control, 0 to 1, default 1' in output
    assert '"latency" output, control' in output
    assert '"Extra reduction (dB)" input, control, 0 to 40, default 0' in output
    assert "Normal or Hard Real-Time" in output


def test_ports_keep_their_numbers(prefix: Path) -> None:
    """Hosts save settings by the ports' numbers, so a new port is the last one."""
    output = host(prefix, "analyseplugin", PLUGIN, "lite_rtse_mono").stdout
    names = re.findall(r'^(?:Ports:)?\s*"([^"]+)" (?:input|output), (?:audio|control)', output, re.MULTILINE)
    assert names == ["Input", "Output", "Attenuation limit (dB)", "Wet", "latency", "Extra reduction (dB)"]


@pytest.mark.parametrize(
    ("ports", "limit", "wet", "extra"),
    [
        (("100", "1", "0"), None, 1.0, 0.0),
        (("12", "1", "0"), 12.0, 1.0, 0.0),
        (("100", "0.5", "0"), None, 0.5, 0.0),
        (("100", "1", "6"), None, 1.0, 6.0),
        (("100", "1", "40"), None, 1.0, math.inf),
        (("-5", "1", "-5"), 0.0, 1.0, 0.0),  # outside the ranges
        (("1e9", "7", "1e9"), None, 1.0, math.inf),
        (("100", "1", "nan"), None, 1.0, 0.0),
    ],
    ids=str,
)
def test_equal_to_streamer(
    prefix: Path, noisy: Path, ports: tuple[str, ...], limit: float | None, wet: float, extra: float
) -> None:
    """Within the steps of the host's 16-bit files."""
    want = expected(noisy, attenuation_limit_db=limit, wet=wet, extra_reduction_db=extra)
    assert np.abs(apply(prefix, noisy, *ports) - want).max() < 4 * STEP


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_equal_to_streamer_at_any_rate(prefix: Path, tmp_path: Path, rate: int) -> None:
    noisy = write_noise(tmp_path, rate)
    assert np.abs(apply(prefix, noisy, *USUAL) - expected(noisy)).max() < 4 * STEP


@pytest.mark.parametrize("rate", [999, 1000001])
def test_rates_that_are_refused(prefix: Path, tmp_path: Path, rate: int) -> None:
    noisy = write_noise(tmp_path, rate)
    done = host(prefix, "applyplugin", noisy, noisy.with_name("out.wav"), PLUGIN, "lite_rtse_mono", *USUAL)
    assert done.returncode != 0
    assert f"lite_rtse_mono: expected a host at 1000 to 1000000 Hz, got {rate} Hz" in done.stderr


def test_weights_that_are_missing_are_named(prefix: Path, noisy: Path) -> None:
    apply = ("applyplugin", noisy, noisy.with_name("out.wav"), PLUGIN, "lite_rtse_mono", *USUAL)
    done = host(prefix, *apply, LITE_RTSE_WEIGHTS="no such file")
    assert done.returncode != 0
    assert "lite_rtse_mono: no such file: the file can't be opened" in done.stderr


def test_weights_without_a_known_minimum_gain_work_without_an_extra_reduction(prefix: Path, noisy: Path) -> None:
    with safe_open(pretrained_path(), "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(arrays, noisy.with_name("weights"))
    apply = ("applyplugin", noisy, noisy.with_name("out.wav"), PLUGIN, "lite_rtse_mono", "100", "1", "12")
    done = host(prefix, *apply, LITE_RTSE_WEIGHTS=str(noisy.with_name("weights")))
    assert done.returncode == 0
    assert 'weights do not state their minimum gain, so "Extra reduction (dB)" has no effect' in done.stderr
    got = sf.read(noisy.with_name("out.wav"), dtype="float32")[0]
    assert np.abs(got - expected(noisy)).max() < 4 * STEP


def test_configuration_names_what_is_installed(prefix: Path, tmp_path: Path) -> None:
    """A package's staged files name the folders in which they will be."""
    configuration = prefix / "share" / "lite_rtse" / "lite_rtse_microphone.conf"
    assert f'plugin = "{prefix}/lib/ladspa/{PLUGIN}"' in configuration.read_text()
    make = ["make", "--silent", "-C", str(ROOT / "csrc" / "ladspa"), "install", "PREFIX=/opt/x", f"DESTDIR={tmp_path}"]
    subprocess.run([*make, f"OUT={tmp_path / 'built'}"], check=True)
    staged = (tmp_path / "opt" / "x" / "share" / "lite_rtse" / configuration.name).read_text()
    assert 'plugin = "/opt/x/lib/ladspa/lite_rtse_ladspa.so"' in staged
    assert str(tmp_path) not in staged
    assert "@" not in staged


def test_nothing_else_is_exported(prefix: Path) -> None:
    symbols = host(prefix, "nm", "-D", "--defined-only", prefix / "lib" / "ladspa" / PLUGIN).stdout
    assert [line.split()[-1] for line in symbols.splitlines()] == ["ladspa_descriptor"]
