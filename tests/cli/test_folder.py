"""Commands that are found by listing a folder."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import lite_rtse_ext.cli.commands
import lite_rtse_ext.data.prepare.sources
from lite_rtse_ext.cli import main

from .conftest import assert_one_line

FOLDERS = {(): lite_rtse_ext.cli.commands, ("prepare",): lite_rtse_ext.data.prepare.sources}
NEW = """
import click

@click.command()
@click.option("--broken", is_flag=True)
def {name}(broken: bool) -> None:
    \"\"\"What the file says.\"\"\"
    if broken:
        raise ValueError("broken: expected no,\\ngot yes")
    click.echo("it ran")
"""


@pytest.mark.parametrize("group", FOLDERS, ids=" ".join)
def test_a_file_in_the_folder_is_a_command(
    group: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = FOLDERS[group]
    (tmp_path / "quite_new.py").write_text(NEW.format(name="quite_new"))
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, f"{package.__name__}.quite_new", raising=False)
    run = CliRunner().invoke
    assert re.search(r"^  quite-new +What the file says\.$", run(main, [*group, "--help"]).output, re.MULTILINE)
    assert run(main, [*group, "quite-new"]).output == "it ran\n"
    assert_one_line(run(main, [*group, "quite-new", "--broken"]), "broken: expected no, got yes")
    monkeypatch.delitem(sys.modules, f"{package.__name__}.quite_new")


@pytest.mark.parametrize("group", FOLDERS, ids=" ".join)
def test_each_file_has_the_function_of_its_name(group: tuple[str, ...]) -> None:
    files = {path.stem for path in Path(FOLDERS[group].__path__[0]).glob("*.py")} - {"__init__"}
    command: click.Command | None = main
    for name in group:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert isinstance(command, click.Group)
    names = command.list_commands(click.Context(command))
    assert {name.replace("-", "_") for name in names} == files
    for name in names:
        found = command.get_command(click.Context(command), name)
        assert found is not None
        assert found.name == name


def test_an_unknown_command_is_named() -> None:
    for group in FOLDERS:
        result = CliRunner().invoke(main, [*group, "unheard-of"])
        assert result.exit_code == 2
        assert "No such command 'unheard-of'" in result.stderr
