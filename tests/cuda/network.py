"""The calls of the CUDA operators that networks make, with tensors that have sizes and no contents."""

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


def _lstm(batch: int, frames: int, dtype: torch.dtype) -> Calls:
    """An LSTM of the network: its recurrence in training, without a state."""

    def empty(*size: int) -> Tensor:
        return torch.empty(size, dtype=dtype, device="meta")

    y, gates, bias = empty(batch, frames, BINS), empty(batch, frames, 4 * BINS), empty(4 * BINS)
    values = [gates, empty(4 * BINS, BINS), bias, bias, None, None]
    return Calls("lstm", (values,), ((y, None, None, y, gates, y, False), values))


def _gru(units: int, directions: int, across: int) -> Callable[[int, int, torch.dtype], Calls]:
    """A GRU over time for each of ``across`` bins, or over ``across`` bins for each frame in both directions."""

    def calls(batch: int, frames: int, dtype: torch.dtype) -> Calls:
        def empty(*size: int) -> Tensor:
            return torch.empty(size, dtype=dtype, device="meta")

        sequences, steps = (batch * across, frames) if directions == 1 else (batch * frames, across)
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        y = empty(sequences, steps, directions * units)
        values = {
            "input": [empty(sequences, steps, 3 * units).to(wide)] * directions,
            "weight_hh": [empty(3 * units, units)] * directions,
            "bias_ih": [empty(3 * units)] * directions,
            "bias_hh": [empty(3 * units)] * directions,
            "h0": None,
        }
        kept = empty(directions * (4 * units * steps * sequences + 16)).to(wide)
        return Calls("gru", (values,), ((y, y, kept, False), values))

    return calls


def _norm_prelu(batch: int, frames: int, dtype: torch.dtype) -> Calls:
    """16 channels of 33 bins, with the statistics of the batch."""
    x, channel = (torch.empty(size, dtype=dtype, device="meta") for size in ((batch, 16, frames, 33), (16,)))
    given = (x, channel, channel, channel)
    statistics = x.new_empty(2, 16, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    return Calls("norm_prelu", given, ((x, statistics), *given))


CASES: Mapping[str, Callable[[int, int, torch.dtype], Calls]] = {
    f"{operator} {name}".strip(): _calls(operator, sizes)
    for operator in operators.OPERATORS
    for name, sizes in operator.network.items()
}
"""By name, what gives the calls for so many utterances, frames and a dtype."""


def _in_bfloat16(calls: Callable[[int, int, torch.dtype], Calls]) -> Callable[[int, int, torch.dtype], Calls]:
    return lambda batch, frames, _: calls(batch, frames, torch.bfloat16)


LSTM = "lstm 257"
CONVOLUTIONS = ("conv_block 1 to 32", "conv_block 32 to 32", "multi_order_conv")
"""Names of Lite-RTSE's LSTM and of its convolutions."""
HALF = "in bfloat16"
"""What follows the name of a case in that type."""

LAYERS: Mapping[str, Callable[[int, int, torch.dtype], Calls]] = {
    LSTM: _lstm,
    f"{LSTM} {HALF}": _in_bfloat16(_lstm),
    "gru 8": _gru(8, 1, 33),
    "gru 64 in both directions": _gru(64, 2, 33),
    "norm_prelu 16": _norm_prelu,
    **{f"{case} {HALF}": _in_bfloat16(CASES[case]) for case in CONVOLUTIONS},
}
"""The same of layers: the network's LSTM, layers of other networks, and what bfloat16 autocast runs in its type."""

OPERATORS: Mapping[str, str] = {name: name.split(" ")[0] for name in (*CASES, *LAYERS)}
"""The operator of each case."""
