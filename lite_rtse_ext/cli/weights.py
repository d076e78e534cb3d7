"""The trained parameters that a command runs: those it is given, else those that come with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lite_rtse_ext.pretrained import pretrained_path

if TYPE_CHECKING:
    from lite_rtse_ext.stream import Network

Command = TypeVar("Command", bound=Callable[..., Any])


def checkpoint_option(command: Command) -> Command:
    """``--checkpoint``, the same for every command."""
    return click.option(
        "--checkpoint",
        type=click.Path(path_type=Path),
        envvar="LITE_RTSE_CHECKPOINT",
        show_envvar=True,
        help="Trained parameters, safetensors or PyTorch; by default those that come with the package.",
    )(command)


def chosen(checkpoint: Path | None) -> Path:
    """The file to read.

    Raises:
        ValueError: none was given, and none comes with the package.
    """
    if checkpoint is not None:
        return checkpoint
    try:
        return pretrained_path()
    except FileNotFoundError as error:
        raise ValueError("no trained parameters come with this version: give --checkpoint PATH") from error


def network(checkpoint: Path | None) -> Network:
    """The parameters for the streaming engine. A PyTorch file needs torch, a safetensors file does not.

    Raises:
        OSError, ValueError: the file can't be read, or is none of this network's.
    """
    from lite_rtse_ext.stream import Network

    path = chosen(checkpoint)
    with path.open("rb") as file:
        safetensors = file.read(9)[8:] == b"{"
    if safetensors:
        return Network.from_pretrained(path)
    from lite_rtse_ext.model import LiteRTSE

    return Network.from_model(LiteRTSE.from_checkpoint(path))
