"""What else ``lite-rtse enhance`` takes as IN: named pipes, devices, odd names, other formats, telephone codings."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from lite_rtse_ext.audio import read, read_format
from lite_rtse_ext.cli import main
from lite_rtse_ext.enhance import stream_file
from lite_rtse_ext.stream import Network

from .conftest import Run, assert_one_line, sound

COMMAND = [sys.executable, "-m", "lite_rtse_ext.cli", "enhance"]


def fed(path: Path, data: bytes) -> threading.Thread:
    """A named pipe that somebody writes into."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,), daemon=True)
    writer.start()
    return writer


@pytest.mark.parametrize("suffix", [".wav", ".flac", ""])
def test_a_named_pipe_is_read(tmp_path: Path, enhance: Run, suffix: str) -> None:
    source = sound(tmp_path / f"in{suffix or '.wav'}", 0.5)
    assert enhance(source, tmp_path / "expected.wav").exit_code == 0
    writer = fed(tmp_path / f"pipe{suffix}", source.read_bytes())
    result = enhance(tmp_path / f"pipe{suffix}", tmp_path / "out.wav")
    writer.join(10)
    assert (result.exit_code, writer.is_alive()) == (0, False), result.output
    assert (tmp_path / "out.wav").read_bytes() == (tmp_path / "expected.wav").read_bytes()


def test_a_named_pipe_may_hold_bare_samples(tmp_path: Path, enhance: Run) -> None:
    source = sound(tmp_path / "in.wav", 0.5)
    assert enhance(source, tmp_path / "expected.wav").exit_code == 0
    fed(tmp_path / "pipe", source.read_bytes()[44:])
    assert enhance(tmp_path / "pipe", tmp_path / "out.wav", "--raw", "s16", "--rate", 16_000).exit_code == 0
    np.testing.assert_array_equal(read(tmp_path / "out.wav")[0], read(tmp_path / "expected.wav")[0])


def test_a_named_pipe_is_named_in_errors(tmp_path: Path, enhance: Run) -> None:
    fed(tmp_path / "pipe.wav", b"This is no sound, not at all, no.")
    assert_one_line(enhance(tmp_path / "pipe.wav", tmp_path / "out.wav"), "pipe.wav: no WAV; of samples")
    assert_one_line(
        enhance(tmp_path / "pipe.wav", tmp_path / "out.wav", "--skip-existing"), "pipe.wav: goes with neither --skip"
    )
    assert not (tmp_path / "out.wav").exists()


def test_the_library_reads_named_pipes_once(tmp_path: Path, checkpoint: Path) -> None:
    data = sound(tmp_path / "in.wav", 0.5).read_bytes()
    network = Network.from_pretrained(checkpoint)
    stream_file(network, tmp_path / "in.wav", tmp_path / "expected.wav")
    fed(tmp_path / "pipe.wav", data)
    stream_file(network, tmp_path / "pipe.wav", tmp_path / "out.wav")
    assert (tmp_path / "out.wav").read_bytes() == (tmp_path / "expected.wav").read_bytes()
    with pytest.raises(ValueError, match=r"pipe\.wav: expected a regular file, got a pipe or device"):
        read_format(tmp_path / "pipe.wav")


@pytest.mark.parametrize("source", ["/dev/stdin", "<(cat IN)", "-"])
@pytest.mark.parametrize("standard", ["cat IN |", "< IN"])
def test_what_the_shell_offers_is_read(
    tmp_path: Path, enhance: Run, checkpoint: Path, source: str, standard: str
) -> None:
    path = sound(tmp_path / "in.wav", 0.5)
    assert enhance(path, tmp_path / "expected.wav").exit_code == 0
    command = shlex.join([*COMMAND, "SOURCE", str(tmp_path / "out.wav"), "--checkpoint", str(checkpoint)])
    command = f"{standard} {command}" if "|" in standard else f"{command} {standard}"
    command = command.replace("SOURCE", source).replace("IN", shlex.quote(str(path)))
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.wav").read_bytes() == (tmp_path / "expected.wav").read_bytes()


def test_devices_are_read_as_pipes(tmp_path: Path, enhance: Run) -> None:
    assert_one_line(enhance("/dev/null", tmp_path / "out.wav"), "/dev/null: no WAV: it ends within the header")
    assert_one_line(enhance("/dev/zero", tmp_path / "out.wav"), "/dev/zero: no WAV; of samples without a header")
    assert not (tmp_path / "out.wav").exists()


def test_names_need_not_be_utf_8(tmp_path: Path, enhance: Run, checkpoint: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9")
    for suffix in (".wav", ".flac", ".mp3", ".ogg", ".au"):
        sf.write(tmp_path / f"x{suffix}", 0.1 * np.ones(4000), 16_000)
        os.rename(tmp_path / f"x{suffix}", folder / f"{name}{suffix}")
    done = subprocess.run(
        [*COMMAND, folder, tmp_path / "out", "--checkpoint", checkpoint], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "out")) == sorted(os.listdir(folder))
    for path in (tmp_path / "out").iterdir():
        assert read_format(path).frames == 4000
    (folder / f"{name}.wav").write_text("This is no sound.")
    done = subprocess.run(
        [*COMMAND, folder / f"{name}.wav", tmp_path / "x.wav", "--checkpoint", checkpoint],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"not an audio file" in done.stderr
    assert b"Traceback" not in done.stderr


def test_what_is_not_kept_is_told_once(tmp_path: Path, enhance: Run) -> None:
    for number in range(3):
        path = tmp_path / "in" / f"{number}.wav"
        sound(path)
        sf.write(path, read(path)[0], 16_000, "MS_ADPCM")
    for threads in (1, 3):
        result = enhance(tmp_path / "in", tmp_path / str(threads), "--threads", threads)
        assert result.exit_code == 0
        assert result.stderr == "Note: MS_ADPCM is not written in WAV: PCM_16 is written instead\n"
    single = enhance(tmp_path / "in" / "0.wav", tmp_path / "out.wav")
    assert single.stderr.startswith("Note: MS_ADPCM")


@pytest.mark.parametrize("name", ["ulaw", "alaw"])
def test_bare_samples_of_telephones(tmp_path: Path, enhance: Run, checkpoint: Path, name: str) -> None:
    source = tmp_path / "in.au"
    sf.write(source, 0.3 * np.sin(np.arange(8000) * 0.3), 8000, name.upper())
    assert enhance(source, tmp_path / "out.au").exit_code == 0
    bare, expected = source.read_bytes()[-8000:], (tmp_path / "out.au").read_bytes()[-8000:]
    command = ["enhance", "-", "-", "--raw", name, "--rate", "8000", "--checkpoint", str(checkpoint)]
    assert CliRunner().invoke(main, command, input=bare).stdout_bytes == expected


def test_a_part_of_a_frame_at_the_end_is_told(checkpoint: Path) -> None:
    options = shlex.split("--raw s16 --rate 8000 --channels 2")
    command = ["enhance", "-", "-", *options, "--checkpoint", str(checkpoint)]
    result = CliRunner().invoke(main, command, input=bytes(4 * 800 + 3))
    assert len(result.stdout_bytes) == 4 * 800
    assert "Note: -: expected whole frames of 4 bytes, got 3 more at the end, left out" in result.stderr


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3", ".aiff", ".caf", ".w64", ".au"])
def test_other_formats_come_through_pipes(tmp_path: Path, enhance: Run, checkpoint: Path, suffix: str) -> None:
    source = sound(tmp_path / f"in{suffix}", 0.5)
    assert enhance(source, tmp_path / "expected.wav").exit_code == 0
    command = ["enhance", "-", str(tmp_path / "out.wav"), "--checkpoint", str(checkpoint)]
    assert CliRunner().invoke(main, command, input=source.read_bytes()).exit_code == 0
    np.testing.assert_array_equal(read(tmp_path / "out.wav")[0], read(tmp_path / "expected.wav")[0])


@pytest.mark.parametrize("target", ["out.wav", "-"])
def test_a_file_without_samples_is_one_line(tmp_path: Path, enhance: Run, target: str) -> None:
    sf.write(tmp_path / "in.wav", np.zeros(0), 16_000)
    where = target if target == "-" else tmp_path / target
    assert_one_line(enhance(tmp_path / "in.wav", where), "in.wav: the file holds no samples")
    assert os.listdir(tmp_path) == ["in.wav"]


@pytest.mark.parametrize("target", ["out.wav", "out.flac", "-"])
def test_a_flac_that_states_no_length(tmp_path: Path, enhance: Run, target: str) -> None:
    source = sound(tmp_path / "in.flac", 0.5)
    data = bytearray(source.read_bytes())
    data[22:26] = bytes(4)  # the low 32 of the 36 bits that count samples, of which the upper four are zero
    source.write_bytes(data)
    assert read_format(source).frames is None
    result = enhance(source, target if target == "-" else tmp_path / target)
    assert result.exit_code == 0, result.output
    if target == "-":
        (tmp_path / target).write_bytes(result.stdout_bytes)
    assert len(read(tmp_path / target)[0]) == 8000
