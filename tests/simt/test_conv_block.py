"""The CUDA kernels of conv_block, run by the emulator: the fused ones and those for any number of channels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ..compare import agreement, assert_same
from ..ops import test_shapes
from ..ops.operators import (
    CONV_BLOCK,
    HALF_TYPES,
    Shape,
    check_against_reference,
    check_no_worse_than_eager,
    double,
    gradients,
)
from . import harness
from .mutants import Mutant

pytestmark = harness.needs("conv_block")

CPU = torch.device("cpu")

# Channels of x up to 4 and from 5 on are two cases, channels up to 32 and from 33 on too. Strips have 30 bins.
FUSED = (
    Shape(batch=1, frames=9, bins=257, channels=32, in_channels=1),
    Shape(batch=1, frames=5, bins=61, channels=32, in_channels=32),
    Shape(batch=2, frames=1, bins=5, channels=1, in_channels=1),
    Shape(batch=1, frames=1, bins=258, channels=3, in_channels=5),
    Shape(batch=2, frames=19, bins=30, channels=8, in_channels=4),
    Shape(batch=1, frames=3, bins=1, channels=17, in_channels=31),
)
LOOPS = (
    Shape(batch=2, frames=3, bins=33, channels=33, in_channels=3),
    Shape(batch=1, frames=2, bins=5, channels=128, in_channels=7),
    Shape(batch=1, frames=1, bins=257, channels=3, in_channels=33),
    Shape(batch=3, frames=7, bins=5, channels=8, in_channels=4),
)
USUAL = Shape(batch=2, frames=11, bins=37, channels=9, in_channels=6)
NARROW = Shape(batch=1, frames=7, bins=31, channels=32, in_channels=1)


def small_device() -> harness.Device:
    """An RTX 3090 with one multiprocessor, on which utterances are taken one by one and segments are long."""
    return harness.with_multiprocessors(1)


@pytest.mark.parametrize("shape", [*FUSED, *LOOPS], ids=str)
def test_float32(shape: Shape) -> None:
    check_against_reference(harness.emulated(CONV_BLOCK, seed=shape.bins), shape, torch.float32, CPU)


@pytest.mark.parametrize("shape", [FUSED[2], FUSED[4], *LOOPS[2:]], ids=str)
def test_float64(shape: Shape) -> None:
    check_against_reference(harness.emulated(CONV_BLOCK, seed=shape.bins), shape, torch.float64, CPU)


@pytest.mark.parametrize("dtype", HALF_TYPES, ids=str)
@pytest.mark.parametrize("shape", [FUSED[1], FUSED[4], LOOPS[0]], ids=str)
def test_half_types(shape: Shape, dtype: torch.dtype) -> None:
    check_no_worse_than_eager(harness.emulated(CONV_BLOCK), shape, dtype, CPU)


@pytest.mark.parametrize("device", ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"])
@pytest.mark.parametrize("shape", [USUAL, NARROW], ids=str)
def test_plans_of_all_devices(shape: Shape, device: str) -> None:
    check_against_reference(harness.emulated(CONV_BLOCK, device=device), shape, torch.float32, CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_one_utterance_at_a_time(dtype: torch.dtype) -> None:
    check_against_reference(harness.emulated(CONV_BLOCK, device=small_device()), LOOPS[3], dtype, CPU)


def test_a_block_has_several_tiles() -> None:
    """Nine blocks of weights, which a block of the 1x1 convolutions reads again for each of its tiles."""
    shape = Shape(batch=1, frames=20, bins=37, channels=70, in_channels=3)
    check_against_reference(harness.emulated(CONV_BLOCK, device=small_device()), shape, torch.float32, CPU)


def test_long_segments() -> None:
    """More frames than a segment may have, and none of them left out where chunks do not fill them."""
    shape = Shape(batch=1, frames=131, bins=7, channels=5, in_channels=2)
    check_against_reference(harness.emulated(CONV_BLOCK, device=small_device()), shape, torch.float32, CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", CONV_BLOCK.empty, ids=str)
def test_empty(shape: Shape, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tests/ops has it, in the fused kernels and in the others."""
    operator = harness.emulated(CONV_BLOCK)
    inputs = operator.inputs
    monkeypatch.setattr(operator, "inputs", lambda shape, device: inputs(shape, dtype=dtype, device=device))
    contract = test_shapes.test_empty_result if shape.in_channels else test_shapes.test_no_input_channels
    contract(operator, shape, CPU)


@pytest.mark.parametrize("shift", [1, 3])
@pytest.mark.parametrize("dtype", harness.DTYPES, ids=str)
def test_any_address(dtype: torch.dtype, shift: int) -> None:
    """Buffers that do not begin where 16 bytes do: the values are those of buffers that do."""
    expected, found = (all_results(USUAL, dtype, shift=s) for s in (0, shift))
    for a, b in zip(found, expected, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("shape", [USUAL, NARROW, LOOPS[0]], ids=str)
def test_any_schedule_gives_the_same_bits(shape: Shape) -> None:
    for a, b in zip(*(all_results(shape, torch.float32, seed=seed) for seed in (1, 2)), strict=True):
        assert_same(a, b)


def all_results(shape: Shape, dtype: torch.dtype, **options: int) -> Iterator[Tensor]:
    """Result and gradients."""
    y, found = gradients(harness.emulated(CONV_BLOCK, **options), CONV_BLOCK.inputs(shape, dtype=dtype))
    yield from (y, *found.values())


@pytest.mark.parametrize("flavour", ["asan", "tsan"])
@pytest.mark.parametrize(
    "shape",
    [
        Shape(batch=1, frames=5, bins=33, channels=9, in_channels=5),
        Shape(batch=1, frames=3, bins=5, channels=4, in_channels=2),
        Shape(batch=1, frames=2, bins=5, channels=34, in_channels=2),
    ],
    ids=str,
)
def test_sanitizers(shape: Shape, flavour: str) -> None:
    """Nothing out of bounds, no undefined behaviour, no data race."""
    check_against_reference(harness.emulated(CONV_BLOCK, flavour=flavour, shift=1), shape, torch.float32, CPU)


def test_causal_and_of_one_utterance() -> None:
    """A NaN spreads to its own utterance alone, to no frame before it and to the bins beside it."""
    tensors = CONV_BLOCK.inputs(USUAL)
    tensors["x"][1, 3, 5, 33] = torch.nan  # in the second strip, and in the columns that the first one looks at
    x, weights, biases = CONV_BLOCK.arguments(tensors)
    broken = harness.run("conv_block", x, weights, biases).isnan()
    expected = torch.zeros_like(broken)
    expected[1, :, 5:8, 32:35] = True
    assert torch.equal(broken, expected)


def test_long_sums() -> None:
    """Terms of one sign, which no running sum in float32 may lose."""
    shape = Shape(batch=1, frames=256, bins=31, channels=4, in_channels=5)
    tensors = {name: tensor.abs() for name, tensor in CONV_BLOCK.inputs(shape).items()}
    dy = torch.ones(CONV_BLOCK.result_size(shape))
    _, found = gradients(harness.emulated(CONV_BLOCK, device=small_device()), tensors, dy)
    _, expected = gradients(CONV_BLOCK.reference, double(tensors), dy)
    for name, gradient in found.items():
        assert agreement(gradient, expected[name]).relative_l2 <= 1e-6, name


# Large enough for several chunks, stages, tiles, and rows that are not aligned.
PLANTED = Shape(batch=1, frames=20, bins=35, channels=8, in_channels=5)
# What only the kernels for any size take: more channels than a tile has rows.
PLANTED_LOOPS = Shape(batch=2, frames=7, bins=9, channels=70, in_channels=3)
MUTANTS = (
    Mutant(
        CONV_BLOCK,
        "forward",
        "mask",
        "bias outside the plane",
        "conv_block_forward.cuh",
        "columns >> j & 1 ? h[i][j] + b.at[i] : C(0)",
        "h[i][j] + b.at[i]",
        PLANTED,
    ),
    Mutant(
        CONV_BLOCK,
        "forward",
        "index",
        "taps always flipped",
        "conv_block_loops.cuh",
        "reversed ? kConvTaps - 1 - (3 * i + j) : 3 * i + j",
        "kConvTaps - 1 - (3 * i + j)",
        PLANTED_LOOPS,
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "barrier",
        "none before warps add their sums",
        "conv_block_backward.cuh",
        "totals[totals_slot(i)] = 0;\n  __syncthreads();\n",
        "totals[totals_slot(i)] = 0;\n",
        PLANTED,
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "index",
        "rows of the gradient reversed",
        "conv_block_backward.cuh",
        "convolve_row({from + ring.at(warp), from + ring.at(warp + 1), from + ring.at(warp + 2)},",
        "convolve_row({from + ring.at(warp + 2), from + ring.at(warp + 1), from + ring.at(warp)},",
        PLANTED,
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "mask",
        "frames before the first",
        "conv_block_loops.cuh",
        "if (t + j >= kConvLookBack && f + k >= 1",
        "if (f + k >= 1",
        PLANTED_LOOPS,
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "barrier",
        "none before the next rows of du replace some",
        "conv_block_backward.cuh",
        "    __syncthreads();\n    if (!own) {",
        "    if (!own) {",
        PLANTED,
        multiprocessors=1,
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "index",
        "the same row of du read again",
        "conv_block_backward.cuh",
        "[&] { read_du(ahead + m.rows); }",
        "[&] { read_du(ahead); }",
        PLANTED,
        multiprocessors=1,
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "mask",
        "frames of du behind the last one",
        "conv_block_backward.cuh",
        "ahead < length + looks);",
        "ahead < length + kConvLookBack);",
        PLANTED,
        multiprocessors=1,
    ),
)
