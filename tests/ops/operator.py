"""What an operator is to the tests: the base class of the descriptions in operators.py."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lite_rtse_ext import ops, reference

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """The dimensions of one call. Each operator reads those it has; the rest keep their defaults."""

    batch: int = 2
    frames: int = 8
    bins: int = 17
    channels: int = 8
    in_channels: int = 4
    out_channels: int = 1
    order: int = 2
    kernel: tuple[int, int] = (3, 3)
    bias: bool = True
    is_complex: bool = False
    directions: int = 1

    def __str__(self) -> str:
        changed = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        return "-".join(f"{name}={value}".replace(" ", "") for name, value in changed) or "default"


class Operator(ABC):
    """One operator: how its arguments are made and grouped, which of them hold utterances, and shapes worth testing."""

    name: str
    signals: Mapping[str, int]  # the arguments whose dimension 0 is the batch, with their time dimension
    time_dim = 2  # of the result
    usual: Shape  # for the clauses that one well-filled shape shows
    tiny: Shape  # for gradcheck
    shapes: Sequence[Shape]  # for accuracy: every special case of the kernels, odd sizes, and utterances of many pieces
    empty: Sequence[Shape]  # with a dimension of zero
    exact = torch.float64  # the most precise type it takes
    alone = True  # whether the result of a sample depends on this sample alone
    network: Mapping[str, Shape] = {}  # of the network's calls, by what tells them apart; batch, frames, bins are free

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def sizes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """The size of each tensor argument by name, in the operator's order; ``weights[0]``, … are one list."""

    @abstractmethod
    def result_size(self, shape: Shape) -> tuple[int, ...]:
        """The size of the result."""

    def dimensions(self, *arguments: Any) -> list[int]:
        """The whole numbers of the argument struct, in the order in which tests/simt/capi.cpp reads them."""
        raise NotImplementedError(f"{self} has no CUDA kernels, or tests/simt/calls.py makes its calls")

    def inputs(
        self, shape: Shape, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", seed: int = 0
    ) -> dict[str, Tensor]:
        """Random arguments: signals of unit variance, weights that keep it, biases large enough to be seen."""
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        for name, size in self.sizes(shape).items():
            scale = 1.0
            if name.startswith("weight"):
                scale = 1.0 / math.sqrt(max(1, math.prod(size[1:])))
            elif name.startswith("bias"):
                scale = 0.5
            kind = torch.complex128 if name == "spectrogram" and shape.is_complex else torch.float64
            value = torch.randn(size, generator=generator, dtype=kind) * scale
            tensors[name] = value.to(dtype.to_complex() if kind.is_complex else dtype).to(device)
        return tensors

    def arguments(self, tensors: Tensors) -> list[Any]:
        """The positional arguments: ``weights[0]``, ``weights[1]``, … become one list."""
        grouped: dict[str, Any] = {}
        for name, tensor in tensors.items():
            base, is_element, _ = name.partition("[")
            if is_element:
                grouped.setdefault(base, []).append(tensor)
            else:
                grouped[base] = tensor
        return list(grouped.values())

    def __call__(self, tensors: Tensors) -> Tensor:
        """The operator under test, on named tensors."""
        return self.function(*self.arguments(tensors))

    def reference(self, tensors: Tensors) -> Tensor:
        """The same in plain PyTorch."""
        return getattr(reference, self.name)(*self.arguments(tensors))

    @property
    def function(self) -> Callable[..., Tensor]:
        """The operator under test, as users call it."""
        return getattr(ops, self.name)

    @property
    def overload(self) -> Any:
        """The dispatcher's operator, as ``torch.library.opcheck`` takes it."""
        return getattr(torch.ops.lite_rtse, self.name).default

    def flat(self, tensors: Tensors) -> Callable[..., Tensor]:
        """The operator as a function of the tensors one by one, for transforms that take tensors only."""
        names = list(tensors)
        return lambda *values: self(dict(zip(names, values, strict=True)))


def named(weights: Sequence[tuple[int, ...]], biases: Sequence[tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The sizes of two lists of arguments by the names of their elements."""
    found = {f"weights[{i}]": size for i, size in enumerate(weights)}
    return found | {f"biases[{i}]": size for i, size in enumerate(biases)}
