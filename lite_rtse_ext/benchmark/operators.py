"""Speed of every fused operator and of the whole network compared with plain PyTorch on this machine.

``lite-rtse bench`` prints the results as a table. The repository's ``benchmarks`` use the same cases for further
measurements.

Every candidate is checked before it is timed: it must compute what the reference computes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

import lite_rtse_ext.nn as fused_nn
from lite_rtse_ext import reference
from lite_rtse_ext.benchmark.environment import Environment
from lite_rtse_ext.benchmark.timing import Candidate, Quantiles, measure
from lite_rtse_ext.models.lite_rtse import LiteRTSE
from lite_rtse_ext.signal import BINS, HOP_LENGTH, SAMPLE_RATE_HZ

LIMITS = {"forward": 1e-5, "backward": 1e-4, "forward + backward": 1e-4, "training step": 1e-4}
"""Largest accepted relative L2 difference for each pass. A candidate with a larger difference is not timed.

Both sides are float32 and round, so the tests have tighter limits.
"""


# --- what is computed -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One computation: the reference and the fused module with equal parameters, and their inputs.

    ``output_gradient`` is the gradient from which backward starts. ``input_gradients`` states whether backward includes
    the gradient of the inputs, as for a block inside a network.
    """

    name: str
    reference: nn.Module
    fused: nn.Module
    inputs: tuple[Tensor, ...]
    output_gradient: Tensor
    input_gradients: bool = True

    @property
    def device(self) -> torch.device:
        """The device of all tensors."""
        return self.output_gradient.device

    @property
    def seconds_of_audio(self) -> float:
        """Duration of all utterances together, at 62.5 frames per second."""
        batch = self.output_gradient.shape[0]
        return batch * self.output_gradient.shape[2] * HOP_LENGTH / SAMPLE_RATE_HZ


def _conv_blocks(module: Any) -> nn.Module:
    return nn.Sequential(module.ConvBlock(1, 32), module.ConvBlock(32, 32))


def _conv_branch(module: Any) -> nn.Module:
    return nn.Sequential(module.ConvBlock(1, 32), module.ConvBlock(32, 32), module.MultiOrderConv())


def _network() -> nn.Module:
    network = reference.LiteRTSE()
    # R is then near 1, which leaves the phase almost unchanged, as in a trained network. The derivative of a phase is
    # 1/|R|. A newly initialized network has R near 0, so rounding alone would make the two gradients differ.
    nn.init.ones_(network.to_real.bias)
    return network


_MODULES: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "causal_dwconv2d": (
        lambda: reference.CausalDepthwiseConv2d(64, 7),
        lambda: fused_nn.CausalDepthwiseConv2d(64, 7),
    ),
    "conv_block": (lambda: reference.ConvBlock(32, 32), lambda: fused_nn.ConvBlock(32, 32)),
    "conv_blocks": (lambda: _conv_blocks(reference), lambda: _conv_blocks(fused_nn)),
    "conv_branch": (lambda: _conv_branch(reference), lambda: _conv_branch(fused_nn)),
    "multi_order_conv": (reference.MultiOrderConv, fused_nn.MultiOrderConv),
    "mask_residual": (reference.MaskResidual, fused_nn.MaskResidual),
    "LiteRTSE": (_network, LiteRTSE),
}
_CHANNELS = {"causal_dwconv2d": 64, "conv_block": 32, "conv_blocks": 1, "conv_branch": 1, "multi_order_conv": 32}
CASES = ("causal_dwconv2d", "conv_block", "multi_order_conv", "mask_residual", "LiteRTSE")
"""The cases that ``lite-rtse bench`` times: the operators at the network's sizes, and the network."""


def case(
    name: str,
    batch: int,
    frames: int,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Case:
    """Make a case. Its values are the same on every device.

    Args:
        name: one of :data:`CASES`, or "conv_blocks", which is the network's two Conv-Blocks one after the other, or
            "conv_branch", which is these and the Multi-Order block after them.
        batch: number of utterances.
        frames: frames of each utterance.
        dtype, device: those of parameters and inputs.
        seed: seed of the random values.
    """
    torch.manual_seed(seed)
    plain, fused = (make() for make in _MODULES[name])
    fused.load_state_dict(plain.state_dict())
    if name in _CHANNELS:
        inputs: list[Tensor] = [torch.randn(batch, _CHANNELS[name], frames, BINS)]
    else:
        inputs = [torch.randn(batch, BINS, frames, 2)]
    if name == "mask_residual":
        inputs += [torch.randn(batch, frames, BINS) for _ in range(4)]
    # Only the shape is needed. A pass on the meta device determines it without computing.
    shape = copy.deepcopy(plain).to("meta")(*(tensor.to("meta") for tensor in inputs)).shape
    return Case(
        name,
        plain.to(device, dtype),
        fused.to(device, dtype),
        tuple(tensor.to(device, dtype) for tensor in inputs),
        torch.randn(shape).to(device, dtype),
        input_gradients=name not in ("conv_blocks", "conv_branch", "LiteRTSE"),
    )


# --- how it is run ----------------------------------------------------------------------------------------------------


def candidate(name: str, module: Callable[..., Tensor], case: Case, what: str) -> Candidate:
    """The candidate that runs one pass of a case in a module.

    Args:
        name: name of the candidate.
        module: the module, or a function of the inputs.
        case: the inputs and the output gradient.
        what: "forward" (without recording gradients), "backward" or "forward + backward".

    Raises:
        ValueError: ``what`` is none of these passes.
    """
    parameters = list(module.parameters()) if isinstance(module, nn.Module) else []

    def leaves() -> list[Tensor]:
        for parameter in parameters:
            parameter.grad = None
        return [tensor.detach().requires_grad_(case.input_gradients) for tensor in case.inputs]

    def gradients(inputs: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.grad for tensor in (*inputs, *parameters) if tensor.grad is not None]

    def forward(_: None) -> list[Tensor]:
        with torch.no_grad():
            return [module(*case.inputs)]

    def graph() -> tuple[list[Tensor], Tensor]:
        inputs = leaves()
        return inputs, module(*inputs)

    def backward(state: tuple[list[Tensor], Tensor]) -> list[Tensor]:
        inputs, output = state
        output.backward(case.output_gradient)  # type: ignore[no-untyped-call]
        return gradients(inputs)

    if what == "forward":
        return Candidate(name, forward)
    if what == "backward":
        return Candidate(name, backward, graph)
    if what == "forward + backward":
        return Candidate(name, lambda _: backward(graph()))
    raise ValueError(f"what: expected 'forward', 'backward' or 'forward + backward', got {what!r}")


# --- whether it is right ----------------------------------------------------------------------------------------------


class WrongResult(RuntimeError):
    """A candidate does not compute what the reference computes. It is not timed."""


def difference(expected: Sequence[Tensor], actual: Sequence[Tensor]) -> float:
    """The largest relative L2 difference among the tensors.

    It is infinite if their number or a shape differs, or if a NaN occurs.
    """
    if len(expected) != len(actual):
        return float("inf")
    largest = 0.0
    for e, a in zip(expected, actual, strict=True):
        if e.shape != a.shape:
            return float("inf")
        wide = e.detach().double()
        found = float((a.detach().double() - wide).norm() / wide.norm().clamp_min(1e-30))
        largest = max(largest, found if found == found else float("inf"))
    return largest


def check(candidate: Candidate, expected: Sequence[Tensor], limit: float, where: str) -> float:
    """Run a candidate once and return the relative L2 difference of its result from the expected one.

    Raises:
        WrongResult: the difference is above ``limit``. The message contains ``where``, which names case and pass.
    """
    found = difference(expected, candidate.run())
    if not found <= limit:
        raise WrongResult(f"{where}: {candidate.name} and eager differ by {found:.1e}, not timed")
    return found


# --- lite-rtse bench --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Result of one case and pass: milliseconds, the ratio of eager to fused, and their relative difference."""

    name: str
    what: str
    eager_ms: Quantiles
    fused_ms: Quantiles
    ratio: Quantiles
    difference: float


def run(batch: int = 2, frames: int = 250, rounds: int = 5) -> Iterator[Timing]:
    """Time every case, forward alone and forward with backward.

    Args:
        batch: number of utterances.
        frames: frames of each utterance.
        rounds: number of rounds.

    Yields:
        Each result as soon as it is measured.

    Raises:
        WrongResult: fused and eager differ by more than rounding.
    """
    for name in CASES:
        this = case(name, batch, frames)
        for what in ("forward", "forward + backward"):
            eager, fused = (
                candidate(side, module, this, what)
                for side, module in (("eager", this.reference), ("fused", this.fused))
            )
            found = check(fused, eager.run(), LIMITS[what], f"{name}, {what}")
            times = measure([eager, fused], rounds, warm_up=0)  # the check already ran both
            milliseconds = times.milliseconds("eager"), times.milliseconds("fused")
            yield Timing(name, what, *milliseconds, times.ratio("eager", "fused"), found)


def as_json(where: Environment, batch: int, frames: int, rounds: int, timings: Sequence[Timing]) -> dict[str, object]:
    """Environment, sizes and results as data for JSON."""
    sizes = {"batch": batch, "frames": frames, "rounds": rounds}
    return {"environment": asdict(where), **sizes, "timings": [asdict(timing) for timing in timings]}
