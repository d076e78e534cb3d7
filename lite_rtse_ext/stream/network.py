"""The network's weights in the form that the streaming engine uses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import safetensors
from numpy.typing import NDArray

from lite_rtse_ext.models.metadata import HEAD_BYTES, is_safetensors, other_architecture, read_config, read_metadata
from lite_rtse_ext.models.min_gain import KEY, MinGain, checked, has_min_gain, read_min_gain
from lite_rtse_ext.models.names import network_parameters
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.signal import HOP_LENGTH, SAMPLE_RATE_HZ
from lite_rtse_ext.utils.arguments import real_number, switch

if TYPE_CHECKING:
    from typing_extensions import Self

try:
    from lite_rtse_ext import _stream
except ImportError as error:
    raise ImportError(
        f"lite_rtse_ext's compiled library _stream is missing or can't be loaded ({error}): reinstall lite-rtse-ext "
        "with a C++ compiler at hand (from a checkout: `pip install --no-build-isolation .`)"
    ) from error

if (_stream.SAMPLE_RATE_HZ, _stream.HOP_LENGTH) != (SAMPLE_RATE_HZ, HOP_LENGTH):
    raise ImportError(
        f"lite_rtse_ext._stream: expected {SAMPLE_RATE_HZ} Hz and a hop of {HOP_LENGTH} samples, got "
        f"{_stream.SAMPLE_RATE_HZ} Hz and {_stream.HOP_LENGTH}: reinstall lite-rtse-ext"
    )

LATENCY_SAMPLES: int = _stream.LATENCY_SAMPLES
"""Algorithmic latency in samples: sample n is returned once sample n + 511 has been fed (32 ms)."""

Precision = Literal["float32", "int24", "int16", "int8"]

_ENGINE = "lite-rtse"  # the architecture that the engine runs
_DTYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64}  # names of safetensors
_MOST_BYTES = 256 << 20  # the largest network, 1024 channels in float64, takes 76 MiB
_MOST_VALUES = _MOST_BYTES // 8


class _Model(Protocol):
    def state_dict(self) -> Mapping[str, Any]: ...


def isa() -> str:
    """Return the instruction set in use: "avx512", "avx2", "baseline" (SSE2) or "neon". LITE_RTSE_ISA overrides it."""
    return str(_stream.isa())


def isas() -> list[str]:
    """Return the instruction sets that this machine can run, best first."""
    return list(_stream.isas())


class Network:
    """Weights that any number of streamers can share, in any number of threads.

    Args:
        weights: the parameters of :class:`lite_rtse_ext.LiteRTSE` by name, arrays of floating dtypes. They are copied.
            The names may have prefixes of wrappers, such as ``module.``.
        precision: storage type of the weights of LSTM and linear layers. A frame reads less memory with fewer bits.
            The result of "int24" is about as exact as that of "float32". That of "int16" differs by about 1e-4 of its
            magnitude (-80 dB), and that of "int8" by about 3e-2 (-30 dB).
        compression, mask_branch: as in :class:`lite_rtse_ext.LiteRTSE`. The arrays do not tell them.
        min_gain: minimum gain that is part of the weights; see :mod:`lite_rtse_ext.models.min_gain`. None: not known.

    Raises:
        TypeError: a weight is not an array of a floating dtype, ``compression`` is not a real number, or
            ``mask_branch`` is neither True nor False.
        ValueError: names, shapes or values do not match a network with 257 bins and these options. Or ``precision`` or
            ``min_gain`` is not allowed.
    """

    def __init__(
        self,
        weights: Mapping[str, NDArray[np.floating]],
        precision: Precision = "float32",
        *,
        compression: float = 1.0,
        mask_branch: bool = False,
        min_gain: Sequence[float] | None = None,
    ) -> None:
        exponent = real_number(compression, "compression", "a number above 0 and at most 1")
        branch = switch(mask_branch, "mask_branch")
        self._min_gain: MinGain | None = None if min_gain is None else checked(min_gain)
        weights = network_parameters(weights)
        _check_size(np.size(value) for value in weights.values())
        self._weights = {name: _as_float32(name, value) for name, value in weights.items()}
        self._network = _stream.Network(self._weights, precision, exponent, branch, self._min_gain)
        self._precision: Precision = precision
        self._options: dict[str, Any] = {"compression": exponent, "mask_branch": branch, KEY: self._min_gain}

    @property
    def precision(self) -> Precision:
        """Storage type of the weights of LSTM and linear layers."""
        return self._precision

    @property
    def min_gain(self) -> MinGain | None:
        """Minimum gain that is part of the weights, or None if it is not known."""
        return self._min_gain

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str] | None = None, precision: Precision = "float32") -> Self:
        """Read a safetensors file, such as one that :meth:`lite_rtse_ext.LiteRTSE.save_checkpoint` has written.

        Args:
            path: the file; by default the one that comes with the package.
            precision: as in :class:`Network`.

        Raises:
            OSError: the file does not exist or can't be read.
            ValueError: the file is not a safetensors file, is damaged, or holds another network. The message says
                which.
        """
        path = pretrained_path() if path is None else Path(path)
        try:
            weights, options = _read_safetensors(path)
            return cls(weights, precision, **options)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_model(cls, model: _Model, precision: Precision = "float32") -> Self:
        """Copy the parameters of a :class:`lite_rtse_ext.LiteRTSE`, or of a module with the same names and shapes.

        The module may be wrapped: by DataParallel, ``torch.compile``, AveragedModel or a Lightning module.

        Args:
            model: the module.
            precision: as in :class:`Network`.

        Raises:
            TypeError: a parameter is not a tensor of numbers, as in a quantized network.
            ValueError: the module is another network, or its parameters do not match one network with 257 bins.
        """
        architecture = getattr(model, "architecture", "") or _ENGINE
        if architecture != _ENGINE:
            raise ValueError(f"model: expected {_ENGINE}, the only network that the engine runs, got {architecture}")
        state = network_parameters(model.state_dict())
        for name, value in state.items():
            if not hasattr(value, "detach") or value.is_meta:
                what = "a tensor without data" if hasattr(value, "detach") else type(value).__name__
                raise TypeError(f"{name}: expected a tensor of numbers, got {what}")
        _check_size(value.numel() for value in state.values())
        arrays = {name: tensor.detach().cpu().float().numpy() for name, tensor in state.items()}
        return cls(arrays, precision, **_options_of(model))

    def __reduce__(self) -> tuple[Any, ...]:
        # The engine's layout of the weights depends on the processor. The other process therefore builds its own.
        return partial(type(self), **self._options), (self._weights, self.precision)

    def __repr__(self) -> str:
        network = self._network
        sizes = f"channels={network.channels}, order={network.order}, depthwise={network.depthwise}"
        options = "".join(f", {name}={value}" for name, value in self._options.items())
        return f"Network({sizes}{options}, precision={self.precision!r})"


def check_network(network: object) -> None:
    """Check an argument ``network``.

    Raises:
        TypeError: it is not a :class:`Network`, but for example the path of one.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network: expected a Network, got {type(network).__name__}: see Network.from_pretrained")


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a network's configuration that its arrays do not tell."""
    options = {name: config[name] for name in ("compression", "mask_branch") if name in config}
    compression, mask_branch = options.get("compression", 1.0), options.get("mask_branch", False)
    if isinstance(compression, bool) or not isinstance(compression, int | float) or not isinstance(mask_branch, bool):
        raise ValueError(f"config: expected a number as compression and true or false as mask_branch, got {options}")
    return options


def _options_of(model: _Model) -> dict[str, Any]:
    """The options of a network, which wrappers may hold."""
    modules = getattr(model, "modules", lambda: [model])()
    for module in modules:
        if "mask_branch" in vars(module):
            return _options(vars(module)) | {KEY: getattr(module, KEY) if has_min_gain(module) else None}
    return {}


def _check_size(sizes: Iterable[int]) -> None:
    """Reject weights that are too large, before a conversion allocates memory for them."""
    if sum(sizes) > _MOST_VALUES:
        raise ValueError(f"larger than any network that streams, {_MOST_VALUES} values and more")


def _as_float32(name: str, value: object) -> NDArray[np.float32]:
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name}: expected a floating type, got {array.dtype}")
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, and the engine rejects them by name
        return np.array(array, dtype=np.float32, order="C")


def _as_array(name: str, dtype: str, shape: list[int], data: bytes) -> NDArray[np.floating]:
    if dtype == "BF16":  # the upper half of a float32
        wide = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    if dtype not in _DTYPES:
        raise ValueError(f"{name}: expected one of {', '.join((*_DTYPES, 'BF16'))}, got {dtype}")
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)


def _read_safetensors(path: Path) -> tuple[dict[str, NDArray[np.floating]], dict[str, Any]]:
    """The weights of a file, and the options that its metadata state."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise ValueError(f"larger than any network that streams, {_MOST_BYTES >> 20} MiB and more")
        data = file.read(HEAD_BYTES)
        if not is_safetensors(data):
            raise ValueError(
                "not a safetensors file; of a PyTorch file, "
                "`LiteRTSE.from_checkpoint(file).save_checkpoint(...)` makes one"
            )
        data += file.read()
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ValueError(f"damaged safetensors file ({error})") from error
    metadata = read_metadata(path)
    problem = other_architecture(metadata, _ENGINE)
    if problem:
        raise ValueError(problem)
    weights = {name: _as_array(name, **entry) for name, entry in network_parameters(dict(entries)).items()}
    return weights, _options(read_config(metadata) or {}) | {KEY: read_min_gain(metadata)}
