"""Empty names, as unset variables of the shell give them. Without a check they would mean the current folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lite_rtse_ext.cli import main

from .conftest import Run

REFUSED = "expected a name, got an empty one"


def with_an_empty_name(group: click.Group, *names: str) -> Iterator[list[str]]:
    """A command line for each option of a path, and for the arguments of each command."""
    for name in group.list_commands(context := click.Context(group)):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from with_an_empty_name(command, *names, name)
        paths = [each for each in command.params if isinstance(each.type, click.Path)]
        yield from ([*names, name, each.opts[0], ""] for each in paths if isinstance(each, click.Option))
        if arguments := [each for each in paths if isinstance(each, click.Argument)]:
            yield [*names, name, *[""] * len(arguments)]


def test_every_command_with_paths_is_checked() -> None:
    found = {word for line in with_an_empty_name(main) for word in line}
    assert found >= {"evaluate", "export", "enhance", "train", "live", "bench", "stream", "pairs", "join", "debian"}


@pytest.mark.parametrize("line", [*with_an_empty_name(main), ["train", "", "--out", "run"]], ids=" ".join)
def test_an_empty_name_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*line)
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert REFUSED in result.stderr


def test_an_empty_variable_for_the_checkpoint_means_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITE_RTSE_CHECKPOINT", "")
    result = run("enhance", "nothing.wav", "out.wav")
    assert REFUSED not in result.stderr
    assert "nothing.wav: " in result.stderr


def test_the_call_server_refuses_an_empty_name() -> None:
    server = pytest.importorskip("lite_rtse_ext.integrations.server", exc_type=ImportError)
    result = CliRunner().invoke(server.main, ["--weights", ""])
    assert result.exit_code == 2
    assert REFUSED in result.stderr
