"""The operators' argument checks for tracing: what csrc/ops checks when they run, for tensors that hold no data.

`torch.compile`, `torch.export` and meta tensors then fail where the operator itself would.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lite_rtse_ext.ops import _native
from lite_rtse_ext.utils.tracing import is_onnx_export, is_traced

_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def dtype(name: str, t: Tensor) -> None:
    """t must be of a type that the kernels know."""
    if t.dtype not in _DTYPES:
        raise RuntimeError(f"{name} has dtype {t.dtype}, must be float64, float32, float16 or bfloat16")


def like(name: str, t: Tensor, first_name: str, first: Tensor) -> None:
    """t must live where `first` lives and have its dtype."""
    if t.device != first.device:
        raise RuntimeError(f"{name} is on {t.device}, must be on the device of {first_name}, {first.device}")
    if t.dtype != first.dtype:
        raise RuntimeError(f"{name} has dtype {t.dtype}, must be that of {first_name}, {first.dtype}")


def shape(name: str, t: Tensor, expected: Sequence[int | torch.SymInt | None], meaning: str) -> None:
    """t must have the expected sizes; None stands for any."""
    same = t.dim() == len(expected)
    if not same or any(n is not None and size != n for size, n in zip(t.shape, expected, strict=True)):
        sizes = ", ".join("*" if n is None else str(n) for n in expected)
        raise RuntimeError(f"{name} has shape {tuple(t.shape)}, must be ({sizes}): {meaning}")


def count(name: str, tensors: Sequence[Tensor], expected: int) -> None:
    if len(tensors) != expected:
        raise RuntimeError(f"{name} has {len(tensors)} tensors, must have {expected}")


def parameters(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
    """Device and dtype of all, and each bias as long as its weight has output channels."""
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        like(f"weights[{i}]", weight, "x", x)
        like(f"biases[{i}]", bias, "x", x)
        shape(f"biases[{i}]", bias, (weight.shape[0],), "(output channels of the weight it goes with)")


def tensor(name: str, value: object) -> None:
    """The first argument must be a tensor, on a device that this build has kernels for.

    A trace holds the operators, so that the ONNX exporter which starts from a trace cannot take them apart.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is {type(value).__name__}, must be a torch.Tensor")
    if is_traced() and is_onnx_export():
        raise RuntimeError(
            "torch.onnx.export(dynamo=False) cannot export the fused operators: use dynamo=True, "
            "`lite-rtse export` for a streaming graph, or lite_rtse_ext.unfuse(model) before"
        )
    if value.is_cuda:
        _native.require_cuda(name, value.device)
