"""The trained parameters that a command runs: those it is given, else those that come with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from safetensors import SafetensorError, safe_open

from lite_rtse_ext.cli.options import NumberRange
from lite_rtse_ext.models.metadata import HEAD_BYTES, is_safetensors, other_architecture, read_metadata
from lite_rtse_ext.models.names import network_parameters
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.utils.atomic_file import kind_of
from lite_rtse_ext.utils.extras import require_torch
from lite_rtse_ext.utils.path_name import PathName

if TYPE_CHECKING:
    from lite_rtse_ext.stream import Network

Command = TypeVar("Command", bound=Callable[..., Any])


def checkpoint_option(command: Command) -> Command:
    """``--checkpoint``, the same for every command."""
    return click.option(
        "--checkpoint",
        type=PathName(),
        envvar="LITE_RTSE_CHECKPOINT",
        show_envvar=True,
        help="Trained parameters, safetensors or PyTorch; by default those that come with the package.",
    )(command)


def extra_reduction_option(command: Command) -> Command:
    """``--extra-reduction``, the same for every command."""
    return click.option(
        "--extra-reduction",
        metavar="DB",
        type=NumberRange(min=0),
        default=0.0,
        help="Turn noise down by up to so much more, and lose more of the speech; inf: without a limit.",
    )(command)


def chosen(checkpoint: Path | None) -> Path:
    """The file to read, or the folder of a run.

    Raises:
        OSError: there is no such file.
        ValueError: it is a pipe or a device, which can't be read twice; or none was given, and none comes with the
            package.
    """
    if checkpoint is not None:
        kind = kind_of(checkpoint)
        if kind not in ("a regular file", "a folder"):
            raise ValueError(f"{checkpoint}: expected a regular file, got {kind}")
        return checkpoint
    try:
        return pretrained_path()
    except FileNotFoundError as error:
        raise ValueError("no trained parameters come with this version: give --checkpoint PATH") from error


def has_engine(checkpoint: Path | None) -> bool:
    """Whether the streaming engine knows the network of a file, or is to say what is wrong with the file.

    Raises:
        OSError, ValueError: as :func:`chosen`.
    """
    path = chosen(checkpoint)
    if not path.is_file():
        return True
    try:
        metadata = read_metadata(path)
    except ValueError:
        return True
    return other_architecture(metadata, "lite-rtse") is None if "architecture" in metadata else _looks_like_it(path)


def _looks_like_it(path: Path) -> bool:
    """Whether a file that does not name its network has Lite-RTSE's parameters, or is no checkpoint at all."""
    try:
        if _is_safetensors(path):
            with safe_open(path, "np") as file:  # type: ignore[no-untyped-call]
                names = dict.fromkeys(file.keys())
        else:
            require_torch(f"{path}: a checkpoint that is no safetensors file")
            from lite_rtse_ext.models.checkpoint import read_state_dict

            names = dict.fromkeys(read_state_dict(path))
    except (SafetensorError, ValueError):
        return True
    try:
        network_parameters(names)
    except ValueError:
        return False
    return True


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return is_safetensors(file.read(HEAD_BYTES))


def network(checkpoint: Path | None, extra_reduction_db: float = 0.0) -> Network:
    """The parameters for the streaming engine. A PyTorch file needs torch, a safetensors file does not.

    Args:
        checkpoint: the file; by default the one that comes with the package.
        extra_reduction_db: what the caller will set: above 0 the file must state its minimum gain.

    Raises:
        OSError, ValueError: the file can't be read, is none of this network's, or does not state its minimum gain.
    """
    from lite_rtse_ext.models.min_gain import factor
    from lite_rtse_ext.stream import Network

    path = chosen(checkpoint)
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, got a folder. The weights of a run are in its best.safetensors")
    if _is_safetensors(path):
        loaded = Network.from_pretrained(path)
    else:
        require_torch(f"{path}: a checkpoint that is no safetensors file")
        from lite_rtse_ext.models.lite_rtse import LiteRTSE

        loaded = Network.from_model(LiteRTSE.from_checkpoint(path))
    try:
        factor(loaded.min_gain, extra_reduction_db)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return loaded
