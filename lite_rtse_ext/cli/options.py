"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def link_option(command: Command) -> Command:
    """``--link-channels``, the same for every command."""
    return click.option(
        "--link-channels", is_flag=True, help="One gain for all channels, so that a stereo image stays as it is."
    )(command)
