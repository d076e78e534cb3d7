"""What the package does where torch is not installed. The same tests run on an installed wheel, outside the checkout.

Where torch is installed, each process gets an environment in which Python finds no torch.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile

import lite_rtse_ext
from lite_rtse_ext.cli import main
from lite_rtse_ext.stream import Streamer

RATE = 16_000
HOW = r"pip install 'lite-rtse-ext\[(torch|train|eval|onnx)\]'"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of a process whose Python has no torch."""
    found = {**os.environ, "OMP_NUM_THREADS": "1"}
    found.pop("LITE_RTSE_CHECKPOINT", None)
    if find_spec("torch") is None:
        return found
    folder = tmp_path_factory.mktemp("no-torch")
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    places = [str(folder), str(Path(lite_rtse_ext.__file__).parents[1])]
    return found | {"PYTHONPATH": os.pathsep.join(places)}


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """Two seconds of a tone that comes and goes, in noise."""
    time = np.arange(2 * RATE) / RATE
    sound = 0.2 * np.sin(2 * np.pi * 300 * time) * (time % 0.5 < 0.25)
    sound += 0.05 * np.random.default_rng(0).standard_normal(len(time))
    soundfile.write(tmp_path / "noisy.wav", sound, RATE, "FLOAT")
    return tmp_path / "noisy.wav"


def python(environment: dict[str, str], *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *arguments], input=stdin, env=environment, capture_output=True, timeout=300, check=False
    )


def lite_rtse(
    environment: dict[str, str], *arguments: str | Path, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return python(environment, "-m", "lite_rtse_ext.cli", *map(str, arguments), stdin=stdin)


# --- the engine -------------------------------------------------------------------------------------------------------


def test_enhance_gives_the_samples_of_a_streamer(environment: dict[str, str], noisy: Path) -> None:
    clean = noisy.with_name("clean.wav")
    done = lite_rtse(environment, "enhance", noisy, clean)
    assert done.returncode == 0, done.stderr.decode()
    samples = soundfile.read(noisy, dtype="float32")[0]
    enhanced = soundfile.read(clean, dtype="float32")[0]
    streamer = Streamer.from_pretrained()
    np.testing.assert_array_equal(enhanced, np.concatenate([streamer.feed(samples), streamer.flush()]))
    assert np.square(enhanced).sum() < 0.9 * np.square(samples).sum()
    piped = lite_rtse(environment, "enhance", "-", "-", stdin=noisy.read_bytes())
    assert piped.returncode == 0, piped.stderr.decode()
    noisy.with_name("piped.wav").write_bytes(piped.stdout)
    np.testing.assert_array_equal(soundfile.read(noisy.with_name("piped.wav"), dtype="float32")[0], enhanced)


def test_enhance_takes_folders_and_other_rates(environment: dict[str, str], tmp_path: Path) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal((24_000, 2))
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.flac", sound, 48_000)
    soundfile.write(tmp_path / "in" / "b.wav", sound, 8000)
    done = lite_rtse(environment, "enhance", tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stderr.decode()
    for name, rate in (("a.flac", 48_000), ("b.wav", 8000)):
        enhanced, found = soundfile.read(tmp_path / "out" / name)
        assert (enhanced.shape, found) == (sound.shape, rate)


def test_info_and_bench_stream(environment: dict[str, str]) -> None:
    done = lite_rtse(environment, "info")
    assert done.returncode == 0, done.stderr.decode()
    assert re.search(rb"PyTorch: +not installed\n", done.stdout)
    done = lite_rtse(environment, "bench", "stream", "--frames", "20")
    assert done.returncode == 0, done.stderr.decode()
    assert b"p99.9" in done.stdout


# --- what needs torch says so -----------------------------------------------------------------------------------------

WITHOUT_TORCH = {"enhance", "live", "info", "bench stream"}
"""Commands that need no torch. All of `prepare` needs none, too."""
WITH_TORCH = {
    "bench": (),
    "evaluate": ("--data", "manifest.json"),
    "export": ("model.onnx",),
    "models": (),
    "train": ("debian", "--out", "run"),
}
MORE = [
    ("bench", "stream", "--full"),
    ("enhance", "noisy.wav", "clean.wav", "--device", "cuda"),
    ("enhance", "noisy.wav", "clean.wav", "--checkpoint", "weights.pt"),
    ("enhance", "-", "-", "--checkpoint", "weights.pt"),
    ("enhance", "noisy.wav", "clean.wav", "--checkpoint", "other.safetensors"),
    ("evaluate", "--recordings", "."),
]


def commands(group: click.Group, name: str = "") -> Iterator[str]:
    context = click.Context(group)
    for part in group.list_commands(context):
        command, path = group.get_command(context, part), f"{name} {part}".strip()
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield path
        if isinstance(command, click.Group):
            yield from commands(command, path)


def test_every_command_is_in_one_of_the_lists() -> None:
    found = {name for name in commands(main) if not name.startswith("prepare")}
    assert found == WITHOUT_TORCH | set(WITH_TORCH)


@pytest.mark.parametrize("arguments", [*((name, *more) for name, more in WITH_TORCH.items()), *MORE], ids=" ".join)
def test_a_command_that_needs_torch_says_so_in_one_line(
    environment: dict[str, str], noisy: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import save_file

    monkeypatch.chdir(noisy.parent)
    save_file({"a": np.zeros(1)}, "other.safetensors", {"architecture": "gtcrn"})
    Path("weights.pt").write_bytes(b"PK\x03\x04")
    before = sorted(os.listdir())
    done = lite_rtse(environment, *arguments)
    assert done.returncode == 1
    assert done.stdout == b""
    assert re.fullmatch(rf"Error: [^\n]* needs torch\b[^\n]*: {HOW}\n", done.stderr.decode()), done.stderr.decode()
    assert sorted(os.listdir()) == before


def test_every_command_has_its_help(environment: dict[str, str]) -> None:
    names = ["", *commands(main)]
    code = """
import sys
from click.testing import CliRunner
from lite_rtse_ext.cli import main
for name in sys.argv[1:]:
    result = CliRunner().invoke(main, [*name.split(), "--help"])
    assert result.exit_code == 0 and "Usage: " in result.output, (name, result.output)
"""
    done = python(environment, "-c", code, *names)
    assert done.returncode == 0, done.stderr.decode()


def test_names_of_the_package_load_or_say_what_they_need(environment: dict[str, str]) -> None:
    code = r"""
import importlib, re
loaded = []
for package in ("", ".audio", ".enhance", ".models"):
    module = importlib.import_module("lite_rtse_ext" + package)
    for name in module.__all__:
        try:
            getattr(module, name)
            loaded.append(name)
        except ImportError as error:
            expected = r"lite_rtse_ext\S* needs torch: pip install 'lite-rtse-ext\[torch\]'"
            assert re.fullmatch(expected, str(error)), error
for name in ("fusion", "nn", "ops", "reference"):
    try:
        importlib.import_module("lite_rtse_ext." + name)
        raise SystemExit(f"{name} was imported")
    except ImportError as error:
        assert str(error) == f"lite_rtse_ext.{name} needs torch: pip install 'lite-rtse-ext[torch]'", error
print(*sorted(loaded))
"""
    done = python(environment, "-c", code)
    assert done.returncode == 0, done.stderr.decode()
    assert {"Streamer", "read", "resample", "stream_file", "model_names", "write"} <= set(done.stdout.decode().split())
