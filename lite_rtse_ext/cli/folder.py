"""Commands that are found by listing a folder."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import click

from lite_rtse_ext.cli.errors import one_line

INTERRUPTED = "lite_rtse_ext.interrupted"
"""The entry of a context's ``meta`` that says that a signal has interrupted the command."""


class Folder(click.Group):
    """A group with a command for each module of a package: ``a_b.py`` has the function ``a_b``, the command ``a-b``.

    A module is imported when its command is called, or when its help is shown. Commands can be added as to any group.
    """

    def __init__(self, *arguments: Any, package: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.package = package

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        modules = iter_modules(import_module(self.package).__path__)
        return sorted({*self.commands, *(module.name.replace("_", "-") for module in modules)})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the command of this name, or None."""
        if name in self.commands or name not in self.list_commands(context):
            return self.commands.get(name)
        function = name.replace("-", "_")
        command: click.Command = getattr(import_module(f"{self.package}.{function}"), function)
        return command

    def invoke(self, context: click.Context) -> Any:
        """Run a command. What it raises on bad input becomes one line.

        Some libraries turn an interruption into an error of their own. It stays an interruption.
        """
        with one_line():
            try:
                return super().invoke(context)
            except Exception as error:
                if INTERRUPTED in context.meta:
                    raise click.Abort from error
                raise
