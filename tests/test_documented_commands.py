"""Every command line that README and docs show names a command that is there, with options that it has."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from lite_rtse_ext.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
PAGES += sorted((ROOT / "docs").glob("**/*.md"))

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="runs in a checkout only")


def command_lines(text: str) -> list[list[str]]:
    """The words behind ``lite-rtse`` of each command line, in blocks of code and in text."""
    shown = re.sub(r"\\\n", " ", text)
    found = re.findall(r"(?:^ {4,}|`|\| )lite-rtse (\w[^`|#\n]*)", shown, re.MULTILINE)
    return [line.split() for line in found]


def faults(words: list[str]) -> list[str]:
    """What is wrong with a command line: a command or an option that is not there."""
    command: click.Command = main
    context = click.Context(command)
    options: set[str] = set()
    while isinstance(command, click.Group) and words:
        name, *words = words
        options |= _options(command)
        inner = command.get_command(context, name)
        if inner is None:
            return [f"no command {name}"]
        command = inner
    options |= _options(command)
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    return [f"no option {option}" for option in sorted(given - options)]


def _options(command: click.Command) -> set[str]:
    named = (parameter for parameter in command.params if isinstance(parameter, click.Option))
    return {"--help"} | {option for each in named for option in (*each.opts, *each.secondary_opts)}


LINES = {
    f"{page.relative_to(ROOT)}: {' '.join(words)}": words
    for page in PAGES
    if page.exists()
    for words in command_lines(page.read_text(encoding="utf-8"))
}


def test_there_are_command_lines() -> None:
    assert len(LINES) >= 20


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_is_one_that_runs(line: str) -> None:
    assert faults(LINES[line]) == []


def test_documented_networks_are_those_that_a_recipe_trains() -> None:
    pytest.importorskip("torch", reason="there is no PyTorch here")
    from lite_rtse_ext.train.network import build_network
    from lite_rtse_ext.train.recipe import load_recipe

    found = [words for words in LINES.values() if words[0] == "train" and any("model" in each for each in words)]
    assert len(found) >= 2
    for _, recipe, *words in found:
        settings = [each.replace("yours.Network", "tests.train.networks.Mask") for each in words if "model" in each]
        build_network(load_recipe(recipe, settings).model, None)  # type: ignore[arg-type]


def test_faults_are_found() -> None:
    assert command_lines("    lite-rtse enhance a b --nothing | sox -t x\n`lite-rtse unheard-of`") == [
        ["enhance", "a", "b", "--nothing"],
        ["unheard-of"],
    ]
    assert faults(["enhance", "a", "b", "--nothing"]) == ["no option --nothing"]
    assert faults(["prepare", "unheard-of"]) == ["no command unheard-of"]
    assert faults(["prepare", "debian", "--out", "x"]) == []
