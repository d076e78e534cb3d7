"""The model of the whole network: inference and a training step, fused and eager, also under bfloat16 autocast.

The fused network is the sum of its operators' kernels, of its two LSTMs, and of PyTorch's operations for all else. The
eager network is PyTorch's graph with cuDNN's LSTMs. A training step is the forward and the backward pass. Time between
kernels is only counted in the launches of cuDNN.

Under autocast PyTorch's operations and casts are those of autocast on the CPU, which runs without a GPU. Convolutions,
linear layers and LSTMs have the type of autocast on both devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.cuda_floor import (
    LAUNCH_S,
    LAUNCHES,
    SLOW_LAUNCH_S,
    DeviceFigures,
    Model,
    Row,
    eager_rows,
    moved,
    of_tests,
    seconds,
)
from benchmarks.eager_traffic import Operation, traffic
from benchmarks.show import grid
from lite_rtse_ext import LiteRTSE, reference

network_cases = of_tests("cuda.network")

HALF = torch.bfloat16
LSTM, CONVOLUTIONS = network_cases.LSTM, network_cases.CONVOLUTIONS
HALF_LSTM, *HALF_CONVOLUTIONS = (f"{case} {network_cases.HALF}" for case in (LSTM, *CONVOLUTIONS))
PARTS = {
    torch.float32: (*CONVOLUTIONS, "mask_residual", LSTM, LSTM),
    HALF: (*HALF_CONVOLUTIONS, "mask_residual", HALF_LSTM, HALF_LSTM),
}
"""By type, the cases of the network's operators. Each name occurs as often as the operator runs in one pass. Under
autocast ``mask_residual`` stays in float32."""
PASSES = ("forward", "backward")
OPERATORS = {case.split(" ")[0] for case in (*CONVOLUTIONS, "mask_residual")}
OF_OPERATORS = {f"{name}{suffix}" for name in OPERATORS for suffix in ("", "_backward")}


class _Unknown(torch.autograd.Function):
    """A layer without operations, in place of an LSTM. The LSTM has a model of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(x, *parameters)
        return x.new_empty(x.shape)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return tuple(t.new_empty(t.shape) for t in ctx.saved_tensors)


def _unknown(lstm: nn.LSTM, x: Tensor) -> Tensor:
    given = [x, *lstm.parameters()]
    if torch.is_autocast_enabled("cpu"):
        given = [tensor.to(HALF) for tensor in given]
    y: Tensor = _Unknown.apply(*given)  # type: ignore[no-untyped-call]
    return y


class _Fused(LiteRTSE):
    def run_lstm(self, lstm: nn.LSTM, x: Tensor, state: Any) -> Any:
        return _unknown(lstm, x), None


class _Eager(reference.LiteRTSE):
    def run_lstm(self, lstm: nn.LSTM, x: Tensor, state: Any) -> Any:
        return _unknown(lstm, x), None


@cache
def pytorch(fused: bool, what: str, batch: int, frames: int, dtype: torch.dtype = torch.float32) -> list[Operation]:
    """Return PyTorch's operations in a pass of the network, without those of the LSTMs.

    Args:
        fused: whether the convolutions are this package's operators.
        what: "forward" or "backward".
        batch: utterances.
        frames: frames of each.
        dtype: float32, or bfloat16 for autocast.
    """
    autocast = torch.autocast("cpu", HALF) if dtype == HALF else nullcontext()
    with FakeTensorMode():
        network = _Fused() if fused else _Eager()
        spectrogram = torch.empty(batch, network.bins, frames, 2)
        with autocast:
            found = traffic(network, [spectrogram], what == "backward")
    return [operation for operation in found if operation.name not in OF_OPERATORS]


def rows(models: Sequence[Model], parts: Sequence[str], what: str, fused: bool) -> list[Row]:
    """Return the rows of the named parts in one pass."""
    by_case = {m.case: m for m in models if m.what == what}
    return [row for case in parts for row in (by_case[case].kernels if fused else by_case[case].eager)]


def network_rows(
    models: Sequence[Model], device: DeviceFigures, what: str, fused: bool, dtype: torch.dtype = torch.float32
) -> list[Row]:
    """Return the rows of the whole network in one pass, in float32 or under bfloat16 autocast."""
    batch, frames = models[0].batch, models[0].frames
    peak = device.half_peak if dtype == HALF else None
    rest = eager_rows(pytorch(fused, what, batch, frames, dtype), device, peak)
    parts = PARTS[dtype] if fused else [case for case in PARTS[dtype] if case in (LSTM, HALF_LSTM)]
    return [*rows(models, parts, what, fused), *rest]


def _line(title: str, fused: Sequence[Row], eager: Sequence[Row]) -> list[str]:
    slow = sum(row.launches for row in eager if row.bound == LAUNCHES) * (SLOW_LAUNCH_S - LAUNCH_S)
    cells = [title]
    for side in (fused, eager):
        launches = sum(row.launches for row in side)
        cells += [str(launches), f"{moved(side) / 1e9:.2f}", f"{seconds(side) * 1e3:.2f}"]
    return [*cells, *(f"{least / seconds(fused):.1f}" for least in (seconds(eager), seconds(eager) + slow))]


def table(models: Sequence[Model], device: DeviceFigures) -> str:
    """Format the blocks, the LSTM and the network, each fused and eager. The last ratio is for slow launches of cuDNN.

    Args:
        models: the models of all cases on one device, or of some. Rows without all their cases are left out.
        device: that device.
    """
    cases = {m.case for m in models}
    lines = [["", "launches", "GB", "floor ms", "eager: launches", "GB", "floor ms", "ratio of floors",
              "slow launches"]]  # fmt: skip
    for case, title in (("multi_order_conv", "Multi-Order block"), ("conv_block 32 to 32", "Conv-Block 32 → 32"),
                        (LSTM, "LSTM 257, against cuDNN"),
                        (HALF_LSTM, "LSTM 257 in bfloat16, against cuDNN")):  # fmt: skip
        if case in cases:
            sides = ([row for what in PASSES for row in rows(models, [case], what, fused)] for fused in (True, False))
            lines.append(_line(f"{title}, forward + backward", *sides))
    for title, passes, dtype in (
        ("network, inference", PASSES[:1], torch.float32),
        ("network, training step", PASSES, torch.float32),
        ("network, training step under bfloat16 autocast", PASSES, HALF),
    ):
        if cases >= set(PARTS[dtype]):
            fused, eager = (
                [row for what in passes for row in network_rows(models, device, what, is_fused, dtype)]
                for is_fused in (True, False)
            )
            lines.append(_line(title, fused, eager))
    if len(lines) == 1:
        return ""
    size = f"{models[0].batch} × {models[0].frames} frames"
    return f"a model, nothing measured: {device.name}, {size}, float32 where no other type is named\n{grid(lines)}"
