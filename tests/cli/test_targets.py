"""Where each command writes: what is no regular file is refused and stays, names of any length work, modes stay."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lite_rtse_ext.cli import main

from ..utils.special import SPECIAL
from .conftest import Run, assert_one_line, sound

NEEDS_ONNX = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")), reason="needs the extra onnx"
)

Command = Callable[..., Result]
"""Calls a command that writes to a path."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds and has tests of its own writes little, or is left out; the files are written as ever."""
    import torch

    from lite_rtse_ext.benchmark import environment as machine
    from lite_rtse_ext.benchmark import operators as bench
    from lite_rtse_ext.models import onnx as export

    monkeypatch.setattr(torch.onnx, "export", lambda model, inputs, path, **_: path.write_bytes(b"graph"))
    monkeypatch.setattr(export, "check_onnx", lambda path, model: 0.0)
    monkeypatch.setattr(bench, "run", lambda *_: iter(()))
    environment = machine.Environment("", 1, 1.0, "", 1, "", "", "", 1.0, 1.0)
    monkeypatch.setattr(machine, "environment", lambda: environment)


@pytest.fixture(params=["file", "pipe", "folder", pytest.param("export", marks=NEEDS_ONNX), "bench", "bench stream"])
def command(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run: Run, enhance: Run, quick: None
) -> Command:
    """Each command that writes a file of the caller's name. It replaces what is there."""
    source = sound(tmp_path_factory.mktemp("source") / "in.wav")
    checkpoint: Path = request.getfixturevalue("checkpoint")

    def into_folder(target: Path) -> Result:
        folder = source.parent / "folder"
        sound(folder / target.name)
        return enhance(folder, target.parent, "--force")

    def piped(target: Path) -> Result:
        arguments = ["enhance", "-", str(target), "--force", "--checkpoint", str(checkpoint)]
        return CliRunner().invoke(main, arguments, input=source.read_bytes())

    calls: dict[str, Command] = {
        "file": lambda target: enhance(source, target, "--force"),
        "pipe": piped,
        "folder": into_folder,
        "export": lambda target: run("export", target, "--force", "--checkpoint", checkpoint),
        "bench": lambda target: run("bench", "--json", target),
        "bench stream": lambda target: run("bench", "stream", "--frames", 4, "--json", target),
    }
    return calls[request.param]


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_refused_and_stays(
    tmp_path: Path, command: Command, kind: str, request: pytest.FixtureRequest
) -> None:
    target = tmp_path / "out.wav"
    SPECIAL[kind](target)
    before = target.lstat()
    result = command(target)
    if request.node.callspec.params == {"command": "file", "kind": "a folder"}:  # a single file goes into it
        assert (result.exit_code, os.listdir(target)) == (0, ["in.wav"])
        return
    assert_one_line(result, f"Error: {target}: expected a regular file or a new name, got {kind}")
    assert result.stdout == ""
    assert os.path.samestat(before, target.lstat())
    assert os.listdir(tmp_path) == ["out.wav"]


@pytest.mark.parametrize("options", [(), ("--skip-existing",), ("--force",)])
@pytest.mark.parametrize("kind", SPECIAL)
def test_nothing_takes_a_special_file_for_an_output(
    tmp_path: Path, enhance: Run, kind: str, options: tuple[str, ...]
) -> None:
    if kind == "a folder":
        (tmp_path / "out" / "a.wav").mkdir(parents=True)
    else:
        (tmp_path / "out").mkdir()
        SPECIAL[kind](tmp_path / "out" / "a.wav")
    sound(tmp_path / "in" / "a.wav")
    result = enhance(tmp_path / "in", tmp_path / "out", *options)
    assert_one_line(result, f"{tmp_path / 'out' / 'a.wav'}: expected a regular file or a new name, got {kind}")


def test_a_pipe_that_has_a_number_only_is_refused(tmp_path: Path, enhance: Run) -> None:
    read_end, write_end = os.pipe()
    try:
        target = f"/proc/self/fd/{write_end}"
        if not os.path.exists(target):
            pytest.skip("this system has no /proc")
        assert_one_line(
            enhance(sound(tmp_path / "in.wav"), target), "expected a regular file or a new name, got a pipe"
        )
    finally:
        os.close(read_end)
        os.close(write_end)


@pytest.mark.parametrize("length", [5, 200, 241, 250, 255])
@pytest.mark.parametrize("letter", ["a", "声"])
def test_names_of_every_length(tmp_path: Path, command: Command, length: int, letter: str) -> None:
    size, room = len(letter.encode()), length - len(".wav")
    target = tmp_path / f"{'x' * (room % size)}{letter * (room // size)}.wav"
    assert len(os.fsencode(target.name)) == length
    result = command(target)
    assert result.exit_code == 0, result.output
    assert os.listdir(tmp_path) == [target.name]
    assert target.stat().st_size > 0


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_the_permissions_of_a_file_stay(tmp_path: Path, command: Command, mode: int) -> None:
    target = tmp_path / "out.wav"
    target.write_text("old")
    target.chmod(mode)
    result = command(target)
    assert result.exit_code == 0, result.output
    assert target.read_bytes() != b"old"
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_an_existing_file_is_not_mistaken(tmp_path: Path, run: Run, checkpoint: Path) -> None:
    (tmp_path / "model.onnx").write_text("precious")
    result = run("export", tmp_path / "model.onnx", "--checkpoint", checkpoint)
    assert_one_line(result, "model.onnx: exists already; --force replaces it")
    assert (tmp_path / "model.onnx").read_text() == "precious"


def test_a_bench_that_is_cut_short_leaves_no_file(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from lite_rtse_ext.benchmark import frames as timing
    from lite_rtse_ext.benchmark import operators as bench

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "run", stop)
    monkeypatch.setattr(timing, "time_frames", stop)
    for command in (["bench"], ["bench", "stream"]):
        assert run(*command, "--json", tmp_path / "new.json").exit_code == 1
        assert os.listdir(tmp_path) == []
    (tmp_path / "old.json").write_text("old")
    assert run("bench", "--json", tmp_path / "old.json").exit_code == 1
    assert (tmp_path / "old.json").read_text() == "old"


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a character device"])
@pytest.mark.parametrize("command_name", ["enhance", pytest.param("export", marks=NEEDS_ONNX)])
def test_parameters_are_read_from_regular_files_only(tmp_path: Path, run: Run, command_name: str, kind: str) -> None:
    SPECIAL[kind](tmp_path / "weights")
    sources = [sound(tmp_path / "in.wav")] if command_name == "enhance" else []
    result = run(command_name, *sources, tmp_path / "out.wav", "--checkpoint", tmp_path / "weights")
    assert_one_line(result, f"{tmp_path / 'weights'}: expected a regular file, got {kind}")
