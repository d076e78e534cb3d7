"""The calls of the CUDA operators that the network makes, with tensors that have sizes and no contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lite_rtse_ext import reference

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


def _features(batch: int, channels: int, frames: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(batch, channels, frames, BINS, dtype=dtype, device="meta")


def _with_lists(operator: str, module: Any, in_channels: int, out_channels: int) -> Callable[..., Calls]:
    def calls(batch: int, frames: int, dtype: torch.dtype) -> Calls:
        weights, biases = (
            [torch.empty_like(tensor, dtype=dtype, device="meta") for tensor in tensors]
            for tensors in module.operands()
        )
        x, dy = (_features(batch, channels, frames, dtype) for channels in (in_channels, out_channels))
        return Calls(operator, (x, weights, biases), (dy, x, weights, biases))

    return calls


def _depthwise(batch: int, frames: int, dtype: torch.dtype) -> Calls:
    x = _features(batch, 64, frames, dtype)
    parameters = (torch.empty(64, 1, 7, 7, dtype=dtype, device="meta"), torch.empty(64, dtype=dtype, device="meta"))
    return Calls("causal_dwconv2d", (x, *parameters), (x, x, *parameters))


def _reconstruction(batch: int, frames: int, dtype: torch.dtype) -> Calls:
    spectrogram = torch.empty(batch, BINS, frames, 2, dtype=dtype, device="meta")
    heads = tuple(torch.empty(batch, frames, BINS, dtype=dtype, device="meta") for _ in range(4))
    return Calls("mask_residual", (spectrogram, *heads), (spectrogram, spectrogram, *heads))


def _meta(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make()


CASES: Mapping[str, Callable[[int, int, torch.dtype], Calls]] = {
    "causal_dwconv2d": _depthwise,
    "conv_block 1 to 32": _with_lists("conv_block", _meta(lambda: reference.ConvBlock(1, 32)), 1, 32),
    "conv_block 32 to 32": _with_lists("conv_block", _meta(lambda: reference.ConvBlock(32, 32)), 32, 32),
    "multi_order_conv": _with_lists("multi_order_conv", _meta(reference.MultiOrderConv), 32, 1),
    "mask_residual": _reconstruction,
}
"""By name, what gives the calls for so many utterances, frames and a dtype."""

OPERATORS: Mapping[str, str] = {name: name.split(" ")[0] for name in CASES}
"""The operator of each case."""
