"""The CUDA kernels of causal_dwconv2d, run by the emulator, against the reference in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lite_rtse_ext import reference

from ..compare import agreement
from ..ops.operators import CAUSAL_DWCONV2D, Shape
from . import harness
from .mutants import Mutant

pytestmark = harness.needs("causal_dwconv2d")

FORWARD = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
GRADIENTS = {torch.float64: 1e-13, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
SHAPES = [(1, 1, 1, 5, 7), (2, 3, 9, 21, 7), (1, 2, 5, 257, 7), (2, 2, 4, 258, 3), (1, 3, 7, 12, 5)]


def operands(batch: int, channels: int, frames: int, bins: int, taps: int, dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(batch + 10 * channels + 100 * frames + 1000 * bins + taps)
    shapes = ((batch, channels, frames, bins), (channels, 1, taps, taps), (channels,))
    return [torch.randn(shape).to(dtype) for shape in shapes]


def check(actual: Tensor, expected: Tensor, limit: float, what: str) -> None:
    found = agreement(actual, expected)
    assert found.within(limit), f"{what}: {found}"


@pytest.mark.parametrize("dtype", harness.DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, weight, bias = operands(*shape, dtype)
    expected = reference.causal_dwconv2d(x.double(), weight.double(), bias.double())
    check(harness.run("causal_dwconv2d", x, weight, bias), expected, FORWARD[dtype], "y")


@pytest.mark.parametrize("dtype", harness.DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backward(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = operands(*shape, dtype)
    leaves = [value.double().requires_grad_() for value in values]
    y = reference.causal_dwconv2d(*leaves)
    dy = torch.randn(y.shape).to(dtype)
    expected = torch.autograd.grad(y, leaves, dy.double())
    actual = harness.run("causal_dwconv2d_backward", dy, *values)
    for name, a, e in zip(("dx", "dweight", "dbias"), actual, expected, strict=True):
        check(a, e, GRADIENTS[dtype], name)


@pytest.mark.parametrize("dtype", harness.DTYPES, ids=str)
@pytest.mark.parametrize(("taps", "dilation"), [(3, 2), (3, 5), (7, 3), (5, 40)])
def test_dilation(taps: int, dilation: int, dtype: torch.dtype) -> None:
    values = operands(2, 3, 19, 9, taps, dtype)
    leaves = [value.double().requires_grad_() for value in values]
    y = reference.causal_dwconv2d(*leaves, dilation)
    check(harness.run("causal_dwconv2d", *values, dilation), y.detach(), FORWARD[dtype], "y")
    dy = torch.randn(y.shape).to(dtype)
    expected = torch.autograd.grad(y, leaves, dy.double())
    actual = harness.run("causal_dwconv2d_backward", dy, *values, dilation)
    for name, a, e in zip(("dx", "dweight", "dbias"), actual, expected, strict=True):
        check(a, e, GRADIENTS[dtype], name)


@pytest.mark.parametrize("seed", range(1, 4))
def test_any_schedule_gives_the_same_bits(seed: int) -> None:
    x, weight, bias = operands(2, 3, 9, 21, 7, torch.float32)
    dy = torch.randn(x.shape)
    for name, arguments in (
        ("causal_dwconv2d", (x, weight, bias)),
        ("causal_dwconv2d_backward", (dy, x, weight, bias)),
    ):
        first, other = (harness.run(name, *arguments, seed=s) for s in (0, seed))
        pairs = zip(*((r,) if isinstance(r, Tensor) else r for r in (first, other)), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


# Large enough for several chunks, stages, tiles, and rows that are not aligned.
PLANTED = Shape(batch=1, frames=30, bins=257, channels=2, kernel=(7, 7))
# What only the kernels for any size take: a kernel that is not square.
PLANTED_LOOPS = Shape(batch=2, frames=9, bins=13, channels=3, kernel=(5, 3))
MUTANTS = (
    Mutant(
        CAUSAL_DWCONV2D,
        "forward",
        "mask",
        "frames before the first not zero",
        "causal_dwconv2d.cuh",
        "const int before = int(first < 0 ? (first + count < 0 ? count : -first) : 0);",
        "const int before = 0;",
        PLANTED,
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        "forward",
        "index",
        "loops over flipped taps",
        "causal_dwconv2d.cuh",
        "w[reversed ? a.taps_t * a.taps_f - 1 - tap : tap]",
        "w[a.taps_t * a.taps_f - 1 - tap]",
        PLANTED_LOOPS,
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        "backward",
        "barrier",
        "none before adding up the warps",
        "causal_dwconv2d.cuh",
        "    if (threadIdx.x % kWarp == 0) own[k] = sum;\n  }\n  __syncthreads();\n",
        "    if (threadIdx.x % kWarp == 0) own[k] = sum;\n  }\n",
        PLANTED,
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        "backward",
        "index",
        "taps of the weight gradient reversed",
        "depthwise.cuh",
        "dw[(i - r) * K + j] += g[r][c] * x[c + j]",
        "dw[(i - r) * K + j] += g[r][c] * x[c + K - 1 - j]",
        PLANTED,
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        "backward",
        "barrier",
        "loops that add up sums not yet there",
        "causal_dwconv2d.cuh",
        "/ kWarp] = sum;\n  __syncthreads();\n  if (threadIdx.x > 0) return;\n  for (int warp = 1;",
        "/ kWarp] = sum;\n  if (threadIdx.x > 0) return;\n  for (int warp = 1;",
        PLANTED_LOOPS,
    ),
)
