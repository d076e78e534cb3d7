"""The operators' argument checks for tracing.

They check tensors without data as csrc/ops checks tensors when an operator runs. `torch.compile`, `torch.export` and
meta tensors then fail where the operator itself would fail. C++ cannot check symbolic sizes, so both sides have the
checks. tests/ops/test_errors.py holds both to the same messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lite_rtse_ext.ops import _native
from lite_rtse_ext.utils.tracing import is_onnx_export, is_traced

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def dtype(name: str, t: Tensor) -> None:
    """Check that the kernels support the dtype of t."""
    if t.dtype not in DTYPES:
        raise RuntimeError(f"{name} has dtype {t.dtype}, must be float64, float32, float16 or bfloat16")


def device(name: str, t: Tensor, first_name: str, first: Tensor) -> None:
    """Check that t has the device of `first`."""
    if t.device != first.device:
        raise RuntimeError(f"{name} is on {t.device}, must be on the device of {first_name}, {first.device}")


def like(name: str, t: Tensor, first_name: str, first: Tensor) -> None:
    """Check that t has the device and the dtype of `first`."""
    device(name, t, first_name, first)
    if t.dtype != first.dtype:
        raise RuntimeError(f"{name} has dtype {t.dtype}, must be that of {first_name}, {first.dtype}")


def shape(name: str, t: Tensor, expected: Sequence[int | torch.SymInt | None], meaning: str) -> None:
    """Check that t has the expected sizes. None stands for any size."""
    same = t.dim() == len(expected)
    if not same or any(n is not None and size != n for size, n in zip(t.shape, expected, strict=True)):
        sizes = ", ".join("*" if n is None else str(n) for n in expected)
        raise RuntimeError(f"{name} has shape {tuple(t.shape)}, must be ({sizes}): {meaning}")


def count(name: str, tensors: Sequence[Tensor], expected: int) -> None:
    if len(tensors) != expected:
        raise RuntimeError(f"{name} has {len(tensors)} tensors, must have {expected}")


def parameters(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
    """Check device and dtype of all tensors, and that each bias has the length of its weight's output channels."""
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        like(f"weights[{i}]", weight, "x", x)
        like(f"biases[{i}]", bias, "x", x)
        shape(f"biases[{i}]", bias, (weight.shape[0],), "(output channels of the weight it goes with)")


def flag(name: str, value: object) -> None:
    """Check that an argument is True or False. The dispatcher's message would contain the values of a tensor."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {type(value).__name__}, must be True or False")


def optional(values: Mapping[str, object]) -> None:
    """Check that the arguments by these names are tensors or None. csrc/ops checks which of them may be None."""
    for name, value in values.items():
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"{name} is {type(value).__name__}, must be a torch.Tensor")


def tensor(name: str, value: object) -> None:
    """Check that an operator's first argument is a tensor on a device for which this build has kernels.

    A trace contains the operators themselves. The ONNX exporter that starts from a trace cannot decompose them, so it
    is refused here.
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
