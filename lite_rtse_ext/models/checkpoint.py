"""Networks in files: safetensors, or PyTorch's own format without its pickled code.

A safetensors file that this module writes states its network and the configuration in its metadata. Other files do not.
Their configuration is inferred from the parameters' shapes.

Reading a file never runs code from it. A safetensors file holds tensors only, and PyTorch files are opened with
``weights_only=True``.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.models.metadata import (
    HEAD_BYTES,
    is_safetensors,
    other_architecture,
    read_config,
    read_metadata,
    with_sorted_metadata,
)
from lite_rtse_ext.models.min_gain import KEY, has_min_gain, read_min_gain
from lite_rtse_ext.models.names import bare, unwrapped
from lite_rtse_ext.models.registry import find_model, model_names
from lite_rtse_ext.utils.atomic_file import replacing
from lite_rtse_ext.utils.listing import listed

__all__ = [
    "CheckpointError",
    "build",
    "description",
    "load_into",
    "load_model",
    "load_parameters",
    "read_state_dict",
    "save_model",
    "write_state_dict",
]

Network = TypeVar("Network", bound=SpectrogramModel)

_PYTORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02")  # a zip archive since torch 1.6, a pickle before
_NESTED_KEYS = ("state_dict", "model_state_dict", "model")
# The largest number in a configuration, unless the network sets its own limit. A small file must not request much
# memory.
_MOST = 1 << 16


class CheckpointError(ValueError):
    """A file is not a checkpoint, or is not one of this network. The message names the file and the problem."""


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read parameters by name from a safetensors or PyTorch file, onto the CPU.

    The file's content determines its format, not its name. A PyTorch file may hold the state dict itself. It may also
    hold a dict that contains the state dict under ``state_dict``, ``model_state_dict`` or ``model``.

    Args:
        path: the file.

    Returns:
        The parameters by their names in the file.

    Raises:
        OSError: the file does not exist or cannot be read.
        CheckpointError: the file is not a checkpoint.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return _read_safetensors(path) if is_safetensors(head) else _read_pytorch(path, head)


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
    except Exception as error:  # a damaged pickle can raise anything; the message states the error
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise CheckpointError(f"{path}: can't be read as a PyTorch file of tensors alone ({reason})") from error
    while isinstance(content, Mapping):
        if all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
            return dict(content)
        content = next((content[key] for key in _NESTED_KEYS if isinstance(content.get(key), Mapping)), None)
    raise CheckpointError(
        f"{path}: holds no state dict; expected tensors by name, or a dict with them under {', '.join(_NESTED_KEYS)}"
    )


def write_state_dict(
    path: str | os.PathLike[str], state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write parameters as safetensors.

    A temporary file in the same folder is written first and then renamed. ``path`` therefore never holds an incomplete
    file. The same parameters and metadata always give the same bytes.

    Args:
        path: the file to write.
        state: parameters by name.
        metadata: the :func:`description` of their network.

    Raises:
        OSError: the folder does not exist or cannot be written to, or ``path`` is a folder.
    """
    values = _unshared({key: _laid_out(value) for key, value in state.items()})
    data = safetensors.torch.save(values, metadata={"format": "pt", **(metadata or {})})
    with replacing(path) as temporary:
        temporary.write_bytes(with_sorted_metadata(data))


def _laid_out(value: Tensor) -> Tensor:
    """The tensor on the CPU, with its values in memory: safetensors ignores that a conjugate or negative is lazy."""
    return value.detach().cpu().resolve_conj().resolve_neg().contiguous()


def _unshared(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each in memory of its own: safetensors refuses weights that two layers share."""
    uses = Counter(value.untyped_storage().data_ptr() for value in values.values())
    return {
        key: value.clone() if uses[value.untyped_storage().data_ptr()] > 1 else value for key, value in values.items()
    }


def description(model: nn.Module) -> dict[str, str]:
    """The metadata that a file states about a network.

    They are its architecture, its configuration, its input gain and its minimum gain.

    Args:
        model: the network.

    Returns:
        The metadata. It is empty for a network that has no architecture.

    Raises:
        TypeError: JSON cannot represent an argument of the network.
    """
    if isinstance(model, InputGain):
        told = description(model.net)
        return told | {"input_gain": repr(model.input_gain)} if told and model.input_gain != 1 else told
    if not isinstance(model, SpectrogramModel) or not model.architecture:
        return {}
    try:
        config = json.dumps(model.config())
    except TypeError as error:
        raise TypeError(
            f"{type(model).__name__}.config: expected numbers, text, lists and the like ({error})"
        ) from error
    min_gain = getattr(model, KEY) if has_min_gain(model) else None
    told = {"architecture": model.architecture, "config": config}
    return told if min_gain is None else told | {KEY: json.dumps(min_gain)}


def save_model(model: SpectrogramModel, path: str | os.PathLike[str]) -> None:
    """Save a network as safetensors for :func:`load_model`.

    Args:
        model: the network.
        path: the file to write. An existing file is replaced only once the new file is complete.

    Raises:
        OSError: the folder does not exist or cannot be written to, or ``path`` is a folder.
        TypeError: JSON cannot represent an argument of the network.
    """
    inner = model.net if isinstance(model, InputGain) else model
    write_state_dict(path, inner.state_dict(), description(model))


def load_model(path: str | os.PathLike[str], network: type[SpectrogramModel] | None = None) -> SpectrogramModel:
    """Build a network from a file, on the CPU, in the default dtype.

    Args:
        path: a safetensors or PyTorch file. See :func:`read_state_dict`.
        network: the expected class. The default is the class that the file names. If the file names none, it is the
            class that recognizes the parameters' shapes.

    Returns:
        The network. If the file states a gain other than 1, it is a
        :class:`lite_rtse_ext.models.input_gain.InputGain` that holds the network.

    Raises:
        OSError: the file does not exist or cannot be read.
        CheckpointError: the file is not a checkpoint of a known network. The message gives the reason.
    """
    state = read_state_dict(path)
    try:
        metadata = read_metadata(path)
        if network is not None:
            _check_architecture(network, metadata)
        elif "architecture" in metadata:
            network = _named(metadata["architecture"])
        told = read_config(metadata)
        model = build(network or _recognizing(state), state, told)
        if has_min_gain(model):
            setattr(model, KEY, read_min_gain(metadata))
        gain = _told_gain(metadata)
    except ValueError as error:  # a CheckpointError, or one of the metadata
        raise CheckpointError(f"{path}: {error}") from error
    return model if gain == 1 else InputGain(model, gain)


def load_parameters(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load a file's parameters into a network, all or none. Values are converted to its dtype and device.

    Args:
        model: the network.
        path: a safetensors or PyTorch file. See :func:`read_state_dict`.

    Raises:
        OSError: the file does not exist or cannot be read.
        CheckpointError: the file is not a checkpoint, or is one of another network. The message gives the reason.
    """
    state = read_state_dict(path)
    try:
        metadata = read_metadata(path)
        named = model if isinstance(model, SpectrogramModel) and model.architecture else None
        if named:
            _check_architecture(type(named), metadata)
        own = _fitting(model, state)
        if named:
            _check_config_fits(named, read_config(metadata) or {})
        min_gain = read_min_gain(metadata) if has_min_gain(model) else None
        model.load_state_dict(own)
        if has_min_gain(model):
            setattr(model, KEY, min_gain)
    except ValueError as error:  # a CheckpointError, or one of the metadata
        raise CheckpointError(f"{path}: {error}") from error


def _check_architecture(network: type[SpectrogramModel], metadata: dict[str, str]) -> None:
    problem = other_architecture(metadata, network.architecture)
    if problem:
        raise CheckpointError(problem)


def _named(architecture: str) -> type[SpectrogramModel]:
    if architecture not in model_names():
        known = ", ".join(model_names())
        raise CheckpointError(f"architecture: expected one of {known}, got {architecture!r}")
    return find_model(architecture)


def _check_config_fits(model: SpectrogramModel, told: Mapping[str, Any]) -> None:
    """Refuse a file whose network has the same shapes but computes something else."""
    own = model.config()
    others = [name for name in told.keys() & own.keys() if json.loads(json.dumps(own[name])) != told[name]]
    if others:
        name = min(others)
        raise CheckpointError(f"{name}: expected {own[name]}, as in this network, got {told[name]}")


def _told_gain(metadata: dict[str, str]) -> float:
    text = metadata.get("input_gain", "1")
    try:
        gain = float(text)
    except ValueError:
        gain = 0.0
    if not 0 < gain < float("inf"):
        raise CheckpointError(f"input_gain: expected a number above 0, got {text[:40]!r}")
    return gain


def _recognizing(state: Mapping[str, Tensor]) -> type[SpectrogramModel]:
    """The network that recognizes the parameters' shapes."""
    reasons = []
    for network in map(find_model, model_names()):
        try:
            network.recognize(state)
        except ValueError as error:
            if network.recognize.__func__ is not SpectrogramModel.recognize.__func__:  # type: ignore[attr-defined]
                reasons.append(str(error))
        else:
            return network
    raise CheckpointError("; ".join(reasons))


def build(network: type[Network], state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Network:
    """Build a network with given parameters. Memory is allocated only after all of them were found to fit.

    Args:
        network: its class.
        state: parameters by name, as :func:`read_state_dict` returns them.
        config: arguments of the constructor. By default they are inferred from the shapes.

    Returns:
        The network.

    Raises:
        CheckpointError: the parameters or the configuration do not fit this network. The message gives the reason.
    """
    try:
        parameters: Mapping[str, Tensor] = state
        if config is None:
            parameters, config = network.recognize(state)
        _check_config(network, config)
        with torch.device("meta"):
            _fitting(network(**config), parameters)
    except (RuntimeError, TypeError, ValueError) as error:  # a CheckpointError, or an error of the constructor
        raise CheckpointError(str(error)) from error
    model = network(**config)
    load_into(model, parameters)
    return model


def _check_config(network: type[SpectrogramModel], config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        most = network.config_limits.get(name, _MOST)
        for number in _numbers(value):
            if not number <= most:
                raise CheckpointError(f"{name}: expected at most {most}, got {number}")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _numbers(inner)


def load_into(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy parameters into a module, all or none. Every name must be present with its shape, and no others.

    Names are compared without the prefixes of wrappers. See :func:`lite_rtse_ext.models.names.unwrapped`.

    Raises:
        CheckpointError: the parameters do not fit. The message states the missing and unknown names and the wrong
            shapes.
    """
    module.load_state_dict(_fitting(module, state))


def _fitting(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters by the module's own names. Raises CheckpointError if they do not fit."""
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
    """Whether the tensor stores all its numbers. A tensor in a PyTorch file may repeat a few, or store none."""
    if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_meta:
        return False
    return tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
