"""Memory traffic of PyTorch's eager graph of a module, computed without running it.

In this graph every operation is a separate kernel. It reads each input once and writes each output once. This is a
lower bound: convolutions that copy their input first, or sum a weight gradient in two passes, move more. Views are
free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

NO_TRAFFIC = ("device", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
"""Operations that neither read nor write memory. Fake tensors ask for their device by one."""
WRITE_ONLY = ("zero_", "fill_", "zeros_like", "ones_like", "full_like", "new_zeros", "new_full")
"""Operations that read no tensor: a tensor argument only gives the size of the result, or is overwritten."""


@dataclass(frozen=True)
class Operation:
    """One kernel: its name in PyTorch, bytes, and operations.

    The operations are those of convolutions and of products of matrices, two per multiply-add.
    """

    name: str
    read_bytes: int
    written_bytes: int
    flops: int


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _bytes(tensor: Tensor) -> int:
    """Return the bytes of the distinct elements. An expanded dimension has one."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return prod(sizes) * tensor.element_size() if tensor.numel() else 0


def _is_view(func: Any) -> bool:
    aliases = [result.alias_info for result in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _flops(name: str, arguments: Sequence[Any], result: Any) -> int:
    """Return the operations of a convolution or of a product of two matrices, two per multiply-add.

    A convolution's forward pass takes one multiply-add per tap of every output. Its backward pass takes as many for
    each gradient that is required.
    """
    if name in ("mm", "addmm"):
        return int(2 * result.numel() * arguments[-1].shape[0])
    if name == "convolution":
        return int(2 * result.numel() * arguments[1][0].numel())
    if name == "convolution_backward":
        dy, _, weight = arguments[:3]
        wanted = sum(arguments[-1][:2])  # of input and weight
        return int(2 * wanted * dy.numel() * weight[0].numel())
    return 0


@dataclass
class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records all operations within its ``with`` block."""

    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[1]
        if not _is_view(func) and name not in NO_TRAFFIC:
            read = {id(t): _bytes(t) for t in _tensors([*args, *(kwargs or {}).values()])}
            if name in WRITE_ONLY:
                read = {}
            elif name == "copy_":
                read.pop(id(args[0]), None)
            written = sum(_bytes(t) for t in _tensors(result))
            flops = _flops(name, args, result)
            self.operations.append(Operation(name, sum(read.values()), written, flops))
        return result


def traffic(module: nn.Module, inputs: Sequence[Tensor], backward: bool) -> list[Operation]:
    """Return the kernels of a forward pass, or those of the backward pass after it.

    Args:
        module: a module with parameters on the meta device.
        inputs: its inputs on the meta device. The backward pass includes the gradients of inputs that require one.
        backward: whether to return the backward pass.
    """
    forward, after = Traffic(), Traffic()
    with forward:
        y = module(*inputs)
    if not backward:
        return forward.operations
    dy = torch.empty_like(y)
    leaves = [t for t in (*inputs, *module.parameters()) if t.requires_grad]
    with after:
        torch.autograd.grad(y, leaves, dy)
    return after.operations
