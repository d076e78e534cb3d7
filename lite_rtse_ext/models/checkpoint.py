"""Parameters of the network in files: safetensors, or PyTorch's own format without its pickled code.

Reading never runs what a file contains: safetensors holds tensors only, and PyTorch files are opened with
``weights_only=True``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from lite_rtse_ext.models.names import bare, listed, network_parameters, unwrapped
from lite_rtse_ext.utils.atomic_file import replacing

__all__ = ["CheckpointError", "Config", "build", "infer_config", "load_into", "read_state_dict", "write_state_dict"]

Network = TypeVar("Network", bound=nn.Module)

_PYTORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02")  # a zip archive since torch 1.6, a pickle before
_NESTED_KEYS = ("state_dict", "model_state_dict", "model")
# No larger network is built from a file, lest a small file ask for much memory. The engine has the same limits.
_MOST_BINS, _MOST_CHANNELS, _MOST_ORDER = 4097, 1024, 10


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
    it under ``state_dict``, ``model_state_dict`` or ``model``. The names are those in the file.

    Raises:
        OSError: no such file, or it can't be read.
        CheckpointError: not a checkpoint.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(9)
    # safetensors: 8 bytes of header length, then the header, a JSON object
    return _read_safetensors(path) if head[8:] == b"{" else _read_pytorch(path, head)


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
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise CheckpointError(f"{path}: can't be read as a PyTorch file of tensors alone ({reason})") from error
    while isinstance(content, Mapping):
        if all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
            return dict(content)
        content = next((content[key] for key in _NESTED_KEYS if isinstance(content.get(key), Mapping)), None)
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
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """Tell the network's configuration from the shapes of its parameters.

    Raises:
        CheckpointError: the parameters are not Lite-RTSE's, or those of a larger network than is read from files.
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
    config = Config(
        bins=shapes["fc1.weight"][0],
        channels=shapes["msmo_conv.2.pwconvN.weight"][1],
        order=stages + 1,
        depthwise=shapes["msmo_conv.0.conv.2.weight"][1] == 1,
    )
    for name, value, most in (
        ("bins", config["bins"], _MOST_BINS),
        ("channels", config["channels"], _MOST_CHANNELS),
        ("order", config["order"], _MOST_ORDER),
    ):
        if value > most:
            raise CheckpointError(f"{name} must be at most {most}, but is {value}")
    return config


def build(cls: Callable[..., Network], state: Mapping[str, Tensor]) -> Network:
    """A network with these parameters, whose names and shapes tell its configuration.

    Memory is taken only once all of them fit.

    Args:
        cls: ``LiteRTSE`` or a class that takes the same arguments.
        state: as :func:`read_state_dict` gives it.

    Raises:
        CheckpointError: the parameters are not those of one Lite-RTSE; the message says why.
    """
    try:
        parameters = network_parameters(state)
        config = infer_config(parameters)
        with torch.device("meta"):
            _fitting(cls(**config), parameters)
    except ValueError as error:  # a CheckpointError, or a configuration that the constructor refuses
        raise CheckpointError(str(error)) from error
    network = cls(**config)
    load_into(network, parameters)
    return network


def load_into(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy parameters into a module, all or none: every name must be there, no other, each in its shape.

    Names are compared without what wrappers put before them, see :func:`lite_rtse_ext.models.names.unwrapped`.

    Raises:
        CheckpointError: says which names are missing or unknown and which shapes differ.
    """
    module.load_state_dict(_fitting(module, state))


def _fitting(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters by the module's own names."""
    own = module.state_dict()
    if own.keys() == state.keys():
        names = {key: key for key in own}
    else:
        names = {bare(key): key for key in own}
        try:
            state = unwrapped(state, names) if names else state
        except ValueError as error:
            raise CheckpointError(str(error)) from error
    both = [(key, state[key], own[name]) for key, name in names.items() if key in state]
    problems = {
        "missing": [key for key in names if key not in state],
        "unknown": [key for key in state if key not in names],
        "of another shape": [
            f"{key} {tuple(theirs.shape)} instead of {tuple(ours.shape)}"
            for key, theirs, ours in both
            if theirs.shape != ours.shape
        ],
        "not dense floating-point numbers": [
            f"{key} {theirs.dtype}" for key, theirs, ours in both if ours.is_floating_point() and not _is_dense(theirs)
        ],
    }
    if any(problems.values()):
        raise CheckpointError("; ".join(f"{what}: {listed(keys)}" for what, keys in problems.items() if keys))
    return {name: state[key] for key, name in names.items()}


def _is_dense(tensor: Tensor) -> bool:
    """Whether all the numbers are there; a tensor in a PyTorch file may repeat a few, or hold none."""
    if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_meta:
        return False
    return tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
