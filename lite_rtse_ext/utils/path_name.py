"""Paths on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["PathName"]


class PathName(click.Path):
    """A path. ``click.Path`` takes an empty name, such as an unset variable of the shell, for the current folder.

    Args:
        dir_okay: whether the path may be a folder.
    """

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("expected a name, got an empty one", param, ctx)
        return super().convert(value, param, ctx)
