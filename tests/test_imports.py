"""What loads without PyTorch, which takes seconds to import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from lite_rtse_ext.cli import main

SEEN = "'torch' in sys.modules"
HELP = f"""
import sys
from click.testing import CliRunner
from lite_rtse_ext.cli import main
for command in sys.argv[1:]:
    result = CliRunner().invoke(main, [*command.split(), "--help"])
    if result.exit_code or {SEEN}:
        sys.exit(f"lite-rtse {{command}}: {{result.output}}")
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)


def commands(group: click.Group, name: str = "") -> Iterator[str]:
    """The group by its name, and all commands in it."""
    yield name
    context = click.Context(group)
    for part in group.list_commands(context):
        command, path = group.get_command(context, part), f"{name} {part}".strip()
        if isinstance(command, click.Group):
            yield from commands(command, path)
        else:
            yield path


@pytest.mark.parametrize(
    "module",
    [
        "lite_rtse_ext",
        "lite_rtse_ext.audio.io",
        "lite_rtse_ext.audio.resampling",
        "lite_rtse_ext.benchmark.frames",
        "lite_rtse_ext.data",
        "lite_rtse_ext.data.prepare.sources.debian",
        "lite_rtse_ext.data.prepare.sources.folders",
        "lite_rtse_ext.enhance.streaming",
        "lite_rtse_ext.models.pretrained",
        "lite_rtse_ext.stream",
        "lite_rtse_ext.utils.workers",
    ],
)
def test_module_loads_without_torch(module: str) -> None:
    done = run(f"import sys, {module}; sys.exit({SEEN} and 'torch is imported')")
    assert done.returncode == 0, done.stderr


def test_help_of_every_command_loads_no_torch() -> None:
    found = list(commands(main))
    assert {"", "prepare folders", "enhance", "bench stream"} <= set(found)
    done = run(HELP, *found)
    assert done.returncode == 0, done.stderr


def test_help_loads_neither_numpy_nor_another_command() -> None:
    """The help of all commands needs their files. That of one command needs no other command's file."""
    for command, own in (("", None), ("enhance", "enhance"), ("prepare", "prepare")):
        done = run(HELP + "print(*sorted(sys.modules))", command)
        assert done.returncode == 0, done.stderr
        seen = set(done.stdout.split())
        commands = {name for name in seen if name.startswith("lite_rtse_ext.cli.commands.")}
        assert own is None or commands == {f"lite_rtse_ext.cli.commands.{own}"}
        assert command == "prepare" or not seen & {"numpy", "soundfile", "lite_rtse_ext.data"}


def test_torch_is_noticed() -> None:
    done = run(f"import sys, lite_rtse_ext.reference; sys.exit({SEEN} and 'torch is imported')")
    assert done.stderr == "torch is imported\n"
