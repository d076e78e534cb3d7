"""``lite-rtse enhance`` with ``-``: the same as from file to file, in real time, and in words where it can't be."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result

from lite_rtse_ext.audio import read, read_format
from lite_rtse_ext.cli import main

from ..utils.full_disk import full_disk
from .conftest import Run, assert_one_line, sound

COMMAND = [sys.executable, "-m", "lite_rtse_ext.cli", "enhance"]


@pytest.fixture
def pipe(checkpoint: Path) -> Run:
    def call(data: bytes, *arguments: object) -> Result:
        command = ["enhance", *map(str, arguments), "--checkpoint", str(checkpoint)]
        return CliRunner().invoke(main, command, input=data)

    return call


def noisy(path: Path, rate: int = 16_000, channels: int = 1, subtype: str = "PCM_16", frames: int = 12_345) -> Path:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels))
    sf.write(path, audio, rate, subtype)
    return path


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_through_pipes_is_the_file(tmp_path: Path, enhance: Run, pipe: Run, rate: int, channels: int) -> None:
    """To the bit, header included, whatever is a file and what a pipe."""
    source = noisy(tmp_path / "in.wav", rate, channels)
    assert enhance(source, tmp_path / "out.wav").exit_code == 0
    expected = (tmp_path / "out.wav").read_bytes()
    result = pipe(source.read_bytes(), "-", "-")
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes == expected
    assert " s of audio in " in result.stderr
    assert pipe(b"", source, "-").stdout_bytes == expected
    into_file = pipe(source.read_bytes(), "-", tmp_path / "piped.wav")
    assert (into_file.exit_code, into_file.stdout) == (0, "")
    assert (tmp_path / "piped.wav").read_bytes() == expected


def test_an_extra_reduction_holds_for_pipes(tmp_path: Path, run: Run) -> None:
    """With the weights of the package, which state their minimum gain."""
    source = noisy(tmp_path / "in.wav")
    extra = ("--extra-reduction", "inf")
    assert run("enhance", source, tmp_path / "out.wav", *extra).exit_code == 0
    assert run("enhance", source, tmp_path / "usual.wav").exit_code == 0
    piped = CliRunner().invoke(main, ["enhance", "-", "-", *extra], input=source.read_bytes())
    assert piped.stdout_bytes == (tmp_path / "out.wav").read_bytes() != (tmp_path / "usual.wav").read_bytes()


@pytest.mark.parametrize("option", ["--extra-reduction", "--attenuation-limit", "--wet"])
def test_nan_is_refused_before_anything_is_written(tmp_path: Path, enhance: Run, pipe: Run, option: str) -> None:
    source = noisy(tmp_path / "in.wav")
    for result in (
        pipe(source.read_bytes(), "-", "-", option, "nan"),
        enhance(source, tmp_path / "out", option, "nan"),
    ):
        assert (result.exit_code, result.stdout_bytes) == (2, b"")
        assert f"Invalid value for '{option}': expected a number, got nan" in result.stderr


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_type_is_the_files(tmp_path: Path, enhance: Run, pipe: Run, subtype: str) -> None:
    source = noisy(tmp_path / "in.wav", subtype=subtype)
    assert enhance(source, tmp_path / "out.wav").exit_code == 0
    (tmp_path / "piped.wav").write_bytes(pipe(source.read_bytes(), "-", "-").stdout_bytes)
    assert read_format(tmp_path / "piped.wav") == read_format(tmp_path / "out.wav")
    np.testing.assert_array_equal(read(tmp_path / "piped.wav")[0], read(tmp_path / "out.wav")[0])


def test_bare_samples_are_the_files(tmp_path: Path, enhance: Run, pipe: Run) -> None:
    source = noisy(tmp_path / "in.wav", 44_100, 2)
    assert enhance(source, tmp_path / "out.wav").exit_code == 0
    bare, expected = ((tmp_path / name).read_bytes()[44:] for name in ("in.wav", "out.wav"))
    options = ("--raw", "s16", "--rate", 44_100, "--channels", 2)
    assert pipe(bare, "-", "-", *options).stdout_bytes == expected
    assert pipe(b"", source, "-", "--raw", "s16").stdout_bytes == expected
    assert pipe(bare, "-", tmp_path / "piped.wav", *options).exit_code == 0
    np.testing.assert_array_equal(read(tmp_path / "piped.wav")[0], read(tmp_path / "out.wav")[0])
    wide = pipe(b"", source, "-", "--raw", "f32").stdout_bytes
    np.testing.assert_allclose(np.frombuffer(wide, "<f4"), np.frombuffer(expected, "<i2") / 2**15, atol=2**-15)


def test_a_pipe_into_another_format(tmp_path: Path, pipe: Run) -> None:
    data = noisy(tmp_path / "in.wav", subtype="PCM_24").read_bytes()
    assert pipe(data, "-", tmp_path / "out.flac").exit_code == 0
    found = read_format(tmp_path / "out.flac")
    assert (found.container, found.subtype, found.frames) == ("FLAC", "PCM_24", 12_345)
    assert_one_line(pipe(data, "-", tmp_path / "out.flac"), "out.flac: exists already")
    assert pipe(data, "-", tmp_path / "out.flac", "--force").exit_code == 0


def test_each_block_comes_out_before_the_next_goes_in(tmp_path: Path, checkpoint: Path) -> None:
    """A true process, as in a call: of n samples all but the last frame's come back while the pipe stays open."""
    command = [*COMMAND, "-", "-", "--raw", "s16", "--rate", "16000", "--checkpoint", str(checkpoint)]
    audio = (3000 * np.random.default_rng(0).standard_normal(20 * 256)).astype("<i2")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = threading.Timer(60, process.kill)  # a block that is held back must not hang the tests
        watchdog.start()
        out = []
        for number, block in enumerate(audio.reshape(20, 256)):
            process.stdin.write(block.tobytes())
            process.stdin.flush()
            if number:  # 512 samples are in, and the first 256 known
                out.append(process.stdout.read(512))
        process.stdin.close()
        out.append(process.stdout.read())
        assert process.wait() == 0
        watchdog.cancel()
    assert [len(block) for block in out] == [512] * 20
    whole = subprocess.run(command, input=audio.tobytes(), capture_output=True, check=True).stdout
    assert b"".join(out) == whole


def test_the_header_comes_before_any_sample(tmp_path: Path, checkpoint: Path) -> None:
    command = [*COMMAND, "-", "-", "--checkpoint", str(checkpoint)]
    data = noisy(tmp_path / "in.wav", frames=512).read_bytes()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        process.stdin.write(data[:44])
        process.stdin.flush()
        assert process.stdout.read(44) == data[:44]
        process.stdin.write(data[44:])
        process.stdin.flush()
        assert len(process.stdout.read(1024)) == 1024  # all of it, though the pipe is still open
        process.stdin.close()
        assert process.wait() == 0
        watchdog.cancel()


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path, checkpoint: Path) -> None:
    source = noisy(tmp_path / "in.wav", frames=200_000)
    command = [*COMMAND, str(source), "-", "--checkpoint", str(checkpoint)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_behind_standard_output_is_one_line(tmp_path: Path, checkpoint: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [*COMMAND, noisy(tmp_path / "in.wav"), "-", "--checkpoint", checkpoint]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "Error: -: can't be written (No space left on device)\n")


def test_a_full_disk_for_the_copy_of_a_pipe_is_one_line(tmp_path: Path, pipe: Run) -> None:
    """A FLAC is copied before it is read."""
    data = noisy(tmp_path / "in.flac").read_bytes()
    with full_disk(most_bytes=len(data) // 2):
        result = pipe(data, "-", tmp_path / "out.wav")
    assert_one_line(result, "sound: can't be written (File too large)", tempfile.gettempdir())
    assert not (tmp_path / "out.wav").exists()


def test_damaged_input_is_one_line(tmp_path: Path, pipe: Run) -> None:
    data = noisy(tmp_path / "in.wav").read_bytes()
    for damaged, words in [
        (b"", "no WAV: it ends within the header"),
        (b"This is no sound, not at all, no.", "no WAV; of samples without a header"),
        (data[:20_000], "damaged, it ends after 9978 samples a channel"),
    ]:
        assert_one_line(pipe(damaged, "-", "-"), "Error: -: ", words)
        assert_one_line(pipe(damaged, "-", tmp_path / "out.wav"), words)
        assert not (tmp_path / "out.wav").exists()
    loud = io.BytesIO()
    sf.write(loud, np.tile(np.float32([3e38, -3e38]), 2000), 16_000, "FLOAT", format="WAV")
    assert_one_line(pipe(loud.getvalue(), "-", "-"), "-: the network's result was not finite")


def test_options_that_do_not_go_together_are_one_line(tmp_path: Path, pipe: Run) -> None:
    source = noisy(tmp_path / "in.wav")
    for arguments, words in [
        (("-", "-", "--raw", "s16"), "raw input needs its sample rate"),
        (("-", "-", "--raw", "s16", "--rate", 12), "1000 to 1000000"),
        (("-", "-", "--raw", "s16", "--rate", 16_000, "--channels", 0), "--channels: expected 1 to 64, got 0"),
        (("-", "-", "--rate", 16_000), "--rate and --channels are for raw input"),
        ((source, "-", "--raw", "s16", "--channels", 2), "--rate and --channels are for raw input"),
        ((source, tmp_path / "x.wav", "--raw", "s16"), "IN or OUT must be -"),
        (("-", "-", "--skip-existing"), "neither --skip-existing nor --device"),
        ((tmp_path, "-"), "a folder can't go into -"),
        ((tmp_path / "missing.wav", "-"), "missing.wav: No such file"),
        (("-", tmp_path / "out.xyz"), "unknown kind of audio file"),
    ]:
        assert_one_line(pipe(source.read_bytes(), *arguments), words)


def test_terminals_are_refused(tmp_path: Path, pipe: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    source = sound(tmp_path / "in.wav")
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)
    assert_one_line(pipe(b"", source, "-"), "standard output is a terminal")
    assert_one_line(pipe(b"", "-", tmp_path / "out.wav"), "standard input is a terminal")


@pytest.mark.parametrize(
    ("closed", "words"), [("<&-", "standard input is closed"), (">&-", "standard output is closed")]
)
def test_closed_pipes_are_one_line(closed: str, words: str) -> None:
    command = f'"{sys.executable}" -m lite_rtse_ext.cli enhance - - {closed}'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, input="", check=False)
    assert (done.returncode, done.stderr) == (1, f"Error: -: {words}\n")


def test_an_input_that_the_shell_opened_is_not_replaced(tmp_path: Path) -> None:
    path = noisy(tmp_path / "a.wav")
    before = path.read_bytes()
    command = [sys.executable, "-m", "lite_rtse_ext.cli", "enhance", "-", str(path), "--force"]
    with path.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    assert (done.returncode, path.read_bytes()) == (1, before)
    assert done.stderr == f"Error: {path}: is the input itself, which is never overwritten\n"


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from lite_rtse_ext.cli import main
main()
"""


def test_the_command_needs_no_torch(tmp_path: Path, enhance: Run, checkpoint: Path) -> None:
    source = noisy(tmp_path / "in.wav", 48_000)
    assert enhance(source, tmp_path / "out.wav").exit_code == 0
    command = [sys.executable, "-c", WITHOUT_TORCH, "enhance", str(source), "--checkpoint", str(checkpoint)]
    done = subprocess.run([*command, str(tmp_path / "without.wav")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "without.wav").read_bytes() == (tmp_path / "out.wav").read_bytes()
    refused = subprocess.run([*command, "-", "--device", "cuda"], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "Error: --device cuda needs torch: pip install 'lite-rtse-ext[torch]'\n"


@pytest.mark.skipif(shutil.which("arecord") is None, reason="needs arecord and aplay: apt install alsa-utils")
def test_the_documented_line_for_a_sound_card(tmp_path: Path, checkpoint: Path) -> None:
    """As it stands there, but for a second only, on a device that hears a file and plays into another."""
    page = (Path(__file__).parents[2] / "docs" / "enhance.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if "arecord" in line)
    heard, played = tmp_path / "heard.raw", tmp_path / "played.raw"
    heard.write_bytes((3000 * np.random.default_rng(0).standard_normal(16_000)).astype("<i2").tobytes())
    files = f'file "{played}"\ninfile "{heard}"\nformat raw\n'
    (tmp_path / ".asoundrc").write_text(f"pcm.!default {{\ntype file\nslave {{ pcm null }}\n{files}}}\n")
    command = ["bash", "-e", "-o", "pipefail", "-c", line.replace("arecord", "arecord -d 1")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"HOME": str(tmp_path), "LITE_RTSE_CHECKPOINT": str(checkpoint), "PATH": path}
    subprocess.run(command, env=environment, check=True, timeout=60)
    alone = [*COMMAND, "-", "-", "--raw", "s16", "--rate", "16000", "--checkpoint", str(checkpoint)]
    expected = subprocess.run(alone, input=heard.read_bytes(), capture_output=True, check=True).stdout
    assert len(expected) == 32_000
    assert played.read_bytes()[: len(expected)] == expected  # what follows fills the last period of the device


# Not getrusage: its peak begins with what the process that started this one had.
PEAK = """
import sys
from lite_rtse_ext.cli import main
try:
    main()
finally:
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""


@pytest.mark.parametrize("piped", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, checkpoint: Path, piped: bool) -> None:
    """Five minutes take what ten seconds take. As floats they are 19 MB, and as 16-bit samples 10."""
    peaks = []
    for seconds in (10, 300):
        source = noisy(tmp_path / f"{seconds}.wav", frames=seconds * 16_000)
        names = ["-", "-"] if piped else [str(source), str(tmp_path / f"out{seconds}.wav")]
        with source.open("rb") as stdin:
            done = subprocess.run(
                [sys.executable, "-c", PEAK, "enhance", *names, "--checkpoint", str(checkpoint)],
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stderr.split()[-2]))
    assert peaks[1] - peaks[0] < 4 * 1024  # KiB
