"""What PyTorch's eager graph of a module moves through memory, without running it.

Every operation is a kernel of its own there: it reads its inputs and writes its outputs, once each. That is the
least it can do: convolutions that copy their input first, or sum a weight gradient in two passes, move more. Views are
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

NO_TRAFFIC = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
"""Operations that reserve memory and leave it alone."""
WRITE_ONLY = ("zero_", "fill_", "zeros_like", "ones_like", "full_like", "new_zeros", "new_full")
"""Those whose tensor arguments say how large a result is, or are overwritten."""


@dataclass(frozen=True)
class Operation:
    """One kernel: its name in PyTorch, bytes, and operations (two a multiply-add; of convolutions alone)."""

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
    """Of the different elements: a dimension that is expanded holds one."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return prod(sizes) * tensor.element_size() if tensor.numel() else 0


def _is_view(func: Any) -> bool:
    aliases = [result.alias_info for result in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _convolution_flops(name: str, arguments: Sequence[Any], result: Any) -> int:
    """Forward, a multiply-add for every tap of every output; backward, as many for each gradient that is wanted."""
    if name == "convolution":
        return int(2 * result.numel() * arguments[1][0].numel())
    if name == "convolution_backward":
        dy, _, weight = arguments[:3]
        wanted = sum(arguments[-1][:2])  # of input and weight
        return int(2 * wanted * dy.numel() * weight[0].numel())
    return 0


@dataclass
class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation while it is entered."""

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
            flops = _convolution_flops(name, args, result)
            self.operations.append(Operation(name, sum(read.values()), written, flops))
        return result


def traffic(module: nn.Module, inputs: Sequence[Tensor], backward: bool) -> list[Operation]:
    """The kernels of a forward pass, or of the backward pass after it.

    Args:
        module: with parameters on the meta device.
        inputs: on the meta device. Backward includes their gradients where they require one.
        backward: which of the two.
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
