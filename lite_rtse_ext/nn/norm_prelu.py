"""Modules of the operator ``norm_prelu``: batch norm, and PReLU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from lite_rtse_ext import ops
from lite_rtse_ext.nn.tensors import is_channels_last
from lite_rtse_ext.ops._check import DTYPES
from lite_rtse_ext.utils.fallback import say_fallback
from lite_rtse_ext.utils.hooks import has_hooks
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere

_FEWEST = 1 << 15
"""The number of values from which a call of the operator saves more than it costs."""

Norm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass(frozen=True, eq=False)
class Pair:
    """A batch norm and the PReLU that alone reads its result, by their paths in the module whose forward calls both.

    In a joined pair the batch norm computes the PReLU as well. In a call that the operator does not compute, both
    compute for themselves. Both then find the same, since the result of a batch norm has the shape and type of its
    input. They also do so once one of them has been replaced, or has got a hook.
    """

    parent: nn.Module
    norm_path: str
    act_path: str

    def layers(self) -> tuple[Any, Any]:
        """The layers that are at these paths now. None if there is none."""
        norm, act = (reduce(_child, path.split("."), self.parent) for path in (self.norm_path, self.act_path))
        return norm, act

    def join(self) -> None:
        for layer in self.layers():
            layer._pair = self

    def joined(self) -> tuple[Any, Any]:
        """The layers while they are joined, otherwise None and None."""
        layers = self.layers()
        are = all(_own_pair(layer) is self and not has_hooks(layer) for layer in layers)
        return layers if are else (None, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Pair | None:
        """The pair of the copies, or None if a layer is copied without the module whose forward calls both."""
        parent = memo.get(id(self.parent))
        return None if parent is None else Pair(parent, self.norm_path, self.act_path)


def _child(module: nn.Module | None, name: str) -> Any:
    return getattr(module, name, None)


class _Normalized(NotScriptable):
    """The forward of a batch norm on the operator. In a joined :class:`Pair` it computes the PReLU as well."""

    _pair: Pair | None = None

    def forward(self: Any, input: Tensor) -> Tensor:
        if isinstance(input, Tensor) and _is_small(input) and _is_plain(self, input):
            mean, var = self.running_mean, self.running_var
            return functional.batch_norm(input, mean, var, self.weight, self.bias, False, 0.0, self.eps)
        norm, act = _joined(self)
        if norm is self and _norm_runs(self, input, act):
            return _normalized(self, input, act.weight)
        if _norm_runs(self, input):
            return _normalized(self, input, None)
        y: Tensor = _BatchNorm.forward(self, input)
        # The PReLU of a pair decides by the memory order of y. It must find that of x.
        return y.contiguous(memory_format=torch.channels_last) if is_channels_last(input) else y


class BatchNorm1d(_Normalized, nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d`` that runs the operator ``norm_prelu``. See :class:`BatchNorm2d`."""


class BatchNorm2d(_Normalized, nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d`` that runs the operator ``norm_prelu``, in training and inference.

    It needs an input with the dtype of the parameters, and with at least 32768 values, which is not in memory as
    ``torch.channels_last``. In all other cases the module computes as ``torch.nn``'s, which also raises all errors. On
    CUDA a build without CUDA kernels says so once, by a
    :class:`~lite_rtse_ext.utils.fallback.FallbackWarning`.
    """


class PReLU(NotScriptable, nn.PReLU):
    """``torch.nn.PReLU`` that runs the operator ``norm_prelu``. It falls back as :class:`BatchNorm2d`."""

    _pair: Pair | None = None

    def forward(self: Any, input: Tensor) -> Tensor:
        norm, act = _joined(self)
        if act is self and _norm_runs(norm, input, act):
            return input  # the batch norm has computed it
        if not (isinstance(input, Tensor) and input.dim() > 1 and _act_runs(self, input)):
            return nn.PReLU.forward(self, input)
        zeros, ones = input.new_zeros(input.shape[1]), input.new_ones(input.shape[1])
        return ops.norm_prelu(input, None, None, self.weight, zeros, ones, 0.0)[0]


def _own_pair(layer: nn.Module | None) -> Pair | None:
    """The pair of this very layer. A wrapper of checkpoints or of FSDP passes on attributes of the layer in it."""
    return None if layer is None else vars(layer).get("_pair")


def separate(layer: nn.Module) -> None:
    """Undo :meth:`Pair.join` of a layer and its partner. Other layers are in no pair."""
    pair = vars(layer).pop("_pair", None)
    for each in pair.layers() if pair else ():
        if _own_pair(each) is pair:
            vars(each).pop("_pair")


def _joined(layer: Any) -> tuple[Any, Any]:
    pair: Pair | None = layer._pair
    return (None, None) if pair is None else pair.joined()


def _normalized(norm: Norm, x: Tensor, slope: Tensor | None) -> Tensor:
    """Batch norm, and PReLU if there is a slope. In training it updates the running statistics."""
    if not norm.training and norm.running_mean is not None:
        return ops.norm_prelu(x, norm.weight, norm.bias, slope, norm.running_mean, norm.running_var, norm.eps)[0]
    y, statistics = ops.norm_prelu(x, norm.weight, norm.bias, slope, eps=norm.eps)
    if norm.training and norm.track_running_stats and norm.running_mean is not None:
        _update(norm, statistics, x.numel() // x.shape[1])
    return y


@torch.no_grad()
def _update(norm: Norm, statistics: Tensor, count: int) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    share: Any = norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        share = 1.0 / norm.num_batches_tracked if share is None else share
    if share is None:
        return
    mean, var = statistics.to(norm.running_mean.dtype)
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(var * (count / (count - 1)), share)


def _norm_runs(norm: Norm, x: Any, act: nn.PReLU | None = None) -> bool:
    """Whether the operator computes this batch norm, and the PReLU if there is one. If not, PyTorch does."""
    if not isinstance(x, Tensor) or _is_small(x):
        return False
    two = isinstance(norm, nn.BatchNorm2d)
    if x.dim() not in ((4,) if two else (2, 3)):
        return False
    mean = norm.running_mean
    fewest = x.shape[1] if norm.training or mean is None else 0
    if x.shape[1] != norm.num_features or x.numel() <= fewest:
        return False
    tensors = [t for t in (norm.weight, mean) if t is not None]  # bias and variance are like these
    if act is not None:
        tensors.append(act.weight)
    fits = act is None or act.num_parameters in (1, x.shape[1])
    return fits and _runs("BatchNorm2d" if two else "BatchNorm1d", x, tensors)


def _act_runs(act: nn.PReLU, x: Tensor) -> bool:
    return act.num_parameters in (1, x.shape[1]) and _runs("PReLU", x, [act.weight])


def _is_plain(norm: Norm, x: Tensor) -> bool:
    """Whether PyTorch's forward would only scale and shift x. It takes longer to find that out."""
    dims = (4,) if isinstance(norm, nn.BatchNorm2d) else (2, 3)
    return not norm.training and norm.running_mean is not None and x.dim() in dims


def _is_small(x: Tensor) -> bool:
    """Whether a call of the operator costs more than it saves. A compiled graph must not depend on the size."""
    return not torch.compiler.is_compiling() and x.numel() < _FEWEST


def _runs(name: str, x: Tensor, parameters: list[Tensor]) -> bool:
    device, dtype = x.device, x.dtype
    if _is_small(x) or is_for_elsewhere() or not ops.available() or is_channels_last(x):
        return False
    if device.type == "cuda" and not ops.has_cuda():
        say_fallback(f"{name} computes as torch.nn.{name}: this build has no CUDA kernels")
        return False
    if device.type not in ("cpu", "cuda") or dtype not in DTYPES or x.layout != torch.strided:
        return False
    if dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(device.type):
        return False
    return all(t.dtype == dtype and t.device == device for t in parameters)
