"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class NumberRange(click.FloatRange):
    """A range of numbers. NaN is in none, but ``click.FloatRange`` takes it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"expected a number, got {value}", param, ctx)
        return number


def link_option(command: Command) -> Command:
    """``--link-channels``, the same for every command."""
    return click.option(
        "--link-channels", is_flag=True, help="One gain for all channels, so that a stereo image stays as it is."
    )(command)
