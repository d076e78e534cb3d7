"""The calls of the CUDA operators that the network makes, with tensors that have sizes and no contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..ops import operators
from ..ops.operator import Operator, Shape

BINS = 257


@dataclass(frozen=True)
class Calls:
    """An operator's forward and backward: its name, and the arguments of both."""

    operator: str
    forward: tuple[Any, ...]
    backward: tuple[Any, ...]

    def of(self, what: str) -> tuple[str, tuple[Any, ...]]:
        """Name and arguments of ``forward`` or ``backward``."""
        return (self.operator, self.forward) if what == "forward" else (f"{self.operator}_backward", self.backward)


def _calls(operator: Operator, sizes: Shape) -> Callable[[int, int, torch.dtype], Calls]:
    def calls(batch: int, frames: int, dtype: torch.dtype) -> Calls:
        def empty(size: tuple[int, ...]) -> Tensor:
            return torch.empty(size, dtype=dtype, device="meta")

        shape = replace(sizes, batch=batch, frames=frames, bins=BINS)
        arguments = operator.arguments({name: empty(size) for name, size in operator.sizes(shape).items()})
        return Calls(operator.name, (*arguments,), (empty(operator.result_size(shape)), *arguments))

    return calls


CASES: Mapping[str, Callable[[int, int, torch.dtype], Calls]] = {
    f"{operator} {name}".strip(): _calls(operator, sizes)
    for operator in operators.OPERATORS
    for name, sizes in operator.network.items()
}
"""By name, what gives the calls for so many utterances, frames and a dtype."""

OPERATORS: Mapping[str, str] = {name: name.split(" ")[0] for name in CASES}
"""The operator of each case."""
