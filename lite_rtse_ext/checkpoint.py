"""Parameters of the network in files: safetensors, or PyTorch's own format without its pickled code.

Reading never runs what a file contains: safetensors holds tensors only, and PyTorch files are opened with
``weights_only=True``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from lite_rtse_ext.files import replacing

__all__ = ["CheckpointError", "Config", "infer_config", "load_into", "read_state_dict", "write_state_dict"]

_PYTORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02")  # a zip archive since torch 1.6, a pickle before
_NESTED_KEYS = ("state_dict", "model_state_dict", "model")
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel's and torch.compile's
_MOST_NAMED = 4


class CheckpointError(ValueError):
    """A file that is not a checkpoint, or not one of this network. The message names the file and what is wrong."""


class Config(TypedDict):
    """Constructor arguments of ``LiteRTSE``."""

    bins: int
    channels: int
    order: int
    depthwise: bool


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read parameters by name from a safetensors or PyTorch file, onto the CPU.

    The content decides which format it is, not the name. A PyTorch file may hold the state dict itself or a dict with
    it under ``state_dict``, ``model_state_dict`` or ``model``. Prefixes that DistributedDataParallel and torch.compile
    put before every key are taken off.

    Raises:
        OSError: no such file, or it can't be read.
        CheckpointError: not a checkpoint.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(9)
    # safetensors: 8 bytes of header length, then the header, a JSON object
    state = _read_safetensors(path) if head[8:] == b"{" else _read_pytorch(path, head)
    for prefix in _WRAPPER_PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: damaged safetensors file ({error})") from error


def _read_pytorch(path: Path, head: bytes) -> dict[str, Tensor]:
    if not head.startswith(_PYTORCH_MAGIC):
        raise CheckpointError(f"{path}: not a checkpoint; it is neither a safetensors nor a PyTorch file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything; whatever it was is in the message
        raise CheckpointError(
            f"{path}: can't be read as a PyTorch file of tensors alone ({str(error).splitlines()[0]})"
        ) from error
    if isinstance(content, Mapping):
        nested = next((content[key] for key in _NESTED_KEYS if isinstance(content.get(key), Mapping)), content)
        if all(isinstance(key, str) and isinstance(value, Tensor) for key, value in nested.items()):
            return dict(nested)
    raise CheckpointError(
        f"{path}: holds no state dict; expected tensors by name, or a dict with them under {', '.join(_NESTED_KEYS)}"
    )


def write_state_dict(path: str | os.PathLike[str], state: Mapping[str, Tensor]) -> None:
    """Write parameters as safetensors. The file appears complete or not at all: it is written beside and then renamed.

    Raises:
        OSError: the folder doesn't exist or can't be written to, or ``path`` is a folder.
    """
    data = safetensors.torch.save(
        {key: value.detach().cpu().contiguous() for key, value in state.items()}, metadata={"format": "pt"}
    )
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """Tell the network's configuration from the shapes of its parameters.

    Raises:
        CheckpointError: the parameters are not Lite-RTSE's.
    """
    shapes = {}
    for key, dims in (("fc1.weight", 2), ("msmo_conv.0.conv.2.weight", 4), ("msmo_conv.2.pwconvN.weight", 4)):
        if key not in state:
            raise CheckpointError(f"no parameters of Lite-RTSE: {key} is missing")
        if state[key].dim() != dims:
            raise CheckpointError(f"{key} must have {dims} dimensions, but is {tuple(state[key].shape)}")
        shapes[key] = tuple(state[key].shape)
    stages = 0
    while f"msmo_conv.2.pwconvs.{stages}.weight" in state:
        stages += 1
    return Config(
        bins=shapes["fc1.weight"][0],
        channels=shapes["msmo_conv.2.pwconvN.weight"][1],
        order=stages + 1,
        depthwise=shapes["msmo_conv.0.conv.2.weight"][1] == 1,
    )


def load_into(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy parameters into a module, all or none: every name must be there, no other, each in its shape.

    Raises:
        CheckpointError: says which names are missing or unknown and which shapes differ.
    """
    own = module.state_dict()
    problems = [
        _listed("missing", [key for key in own if key not in state]),
        _listed("unknown", [key for key in state if key not in own]),
        _listed(
            "of another shape",
            [
                f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
                for key in own
                if key in state and state[key].shape != own[key].shape
            ],
        ),
    ]
    if any(problems):
        raise CheckpointError("; ".join(filter(None, problems)))
    module.load_state_dict(dict(state))


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{what}: {', '.join(names[:_MOST_NAMED])}{rest}"
