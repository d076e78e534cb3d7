"""The LADSPA plugin in the hosts of Debian's package ladspa-sdk, against the streamer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext import Streamer

ROOT = Path(__file__).parent.parent.parent
PLUGIN = "lite_rtse_ladspa.so"
LATENCY = 512
STEP = 2**-15

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


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    samples = 0.1 * np.random.default_rng(0).standard_normal(8000)
    sf.write(tmp_path / "noisy.wav", samples, 16000, subtype="PCM_16")
    return tmp_path / "noisy.wav"


def expected(noisy: Path, limit: float | None, wet: float) -> Samples:
    streamer = Streamer.from_pretrained(compensate_delay=False, attenuation_limit_db=limit, wet=wet)
    output: Samples = streamer.feed(sf.read(noisy, dtype="float32")[0])
    return output


def test_ports(prefix: Path) -> None:
    output = host(prefix, "analyseplugin", PLUGIN, "lite_rtse_mono").stdout
    assert '"Attenuation limit (dB)" input, control, 0 to 100, default 100' in output
    assert '"Wet" input, control, 0 to 1, default 1' in output
    assert '"latency" output, control' in output
    assert "Normal or Hard Real-Time" in output


@pytest.mark.parametrize(
    ("ports", "limit", "wet"),
    [
        (("100", "1"), None, 1.0),
        (("12", "1"), 12.0, 1.0),
        (("100", "0.5"), None, 0.5),
        (("-5", "1"), 0.0, 1.0),  # outside the ranges
        (("1e9", "7"), None, 1.0),
    ],
    ids=str,
)
def test_equal_to_streamer(prefix: Path, noisy: Path, ports: tuple[str, str], limit: float | None, wet: float) -> None:
    """Within the steps of the host's 16-bit files."""
    enhanced = noisy.with_name("enhanced.wav")
    done = host(prefix, "applyplugin", noisy, enhanced, PLUGIN, "lite_rtse_mono", *ports)
    assert done.returncode == 0, done.stderr
    got, want = sf.read(enhanced, dtype="float32")[0], expected(noisy, limit, wet)
    assert np.abs(got - want).max() < 4 * STEP
    assert np.abs(want[LATENCY:]).max() > 100 * STEP


def test_another_rate_is_refused(prefix: Path, noisy: Path) -> None:
    sf.write(noisy, sf.read(noisy)[0], 48000, subtype="PCM_16")
    done = host(prefix, "applyplugin", noisy, noisy.with_name("out.wav"), PLUGIN, "lite_rtse_mono", "100", "1")
    assert done.returncode != 0
    assert "lite_rtse_mono: expected a host at 16000 Hz, got 48000 Hz" in done.stderr


def test_weights_that_are_missing_are_named(prefix: Path, noisy: Path) -> None:
    apply = ("applyplugin", noisy, noisy.with_name("out.wav"), PLUGIN, "lite_rtse_mono", "100", "1")
    done = host(prefix, *apply, LITE_RTSE_WEIGHTS="no such file")
    assert done.returncode != 0
    assert "lite_rtse_mono: no such file: the file can't be opened" in done.stderr


def test_nothing_else_is_exported(prefix: Path) -> None:
    symbols = host(prefix, "nm", "-D", "--defined-only", prefix / "lib" / "ladspa" / PLUGIN).stdout
    assert [line.split()[-1] for line in symbols.splitlines()] == ["ladspa_descriptor"]
