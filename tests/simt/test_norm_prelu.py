"""The CUDA kernels of norm_prelu, run by the emulator, against the reference in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from lite_rtse_ext import reference

from ..compare import assert_agrees, assert_all_same
from . import harness
from .test_lstm import broken

pytestmark = harness.needs("norm_prelu")

OPERATOR = "norm_prelu"
NAMES = ("x", "weight", "bias", "slope")
FORWARD = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
GRADIENTS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


class Size(NamedTuple):
    """A call. ``slopes``: 0 leaves the PReLU out; ``given``: the statistics are."""

    batch: int
    channels: int
    points: int
    slopes: int = 1
    given: bool = False
    parameters: bool = True


SIZES = (
    Size(1, 1, 5),
    Size(3, 5, 41, slopes=5),
    Size(2, 3, 4125, given=True),
    Size(2, 2, 8200, slopes=2),  # two pieces of each utterance, the second of 8 numbers
    Size(300, 7, 1, slopes=0),
    Size(2000, 1, 9),  # three parts of several utterances
    Size(4, 9, 16, slopes=9, parameters=False),
)
USUAL = SIZES[3]


def values(size: Size, dtype: torch.dtype = torch.float32) -> list[Tensor | None]:
    """x, weight, bias, slope, mean, var."""
    generator = torch.Generator().manual_seed(size.points)

    def random(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator).to(dtype)

    x = random(size.batch, size.channels, size.points) * 2 + 3
    channels = size.channels
    parameters = [random(channels), random(channels)] if size.parameters else [None, None]
    slope = random(size.slopes) if size.slopes else None
    return [x, *parameters, slope, *([random(channels), random(channels).square()] if size.given else [None, None])]


def check(size: Size, only: str = "", dtype: torch.dtype = torch.float32, **options: Any) -> None:
    """Both passes against the formula in float64."""
    given = values(size, dtype)
    wide = [None if t is None else t.double().requires_grad_(i < 4) for i, t in enumerate(given)]
    expected = reference.norm_prelu(*wide, 1e-5)
    y, statistics = harness.run(OPERATOR, *given, **options)
    assert_agrees(y, expected.detach(), FORWARD[dtype], "y")
    exact = wide[4:] if size.given else reference.channel_statistics(wide[0].detach())
    assert_agrees(statistics, torch.stack(list(exact)), 1e-6, "statistics")
    if only == "forward":
        return
    dy = torch.randn(expected.shape, generator=torch.Generator().manual_seed(77)).to(dtype)
    present = [(n, t) for n, t in zip(NAMES, wide, strict=False) if t is not None]
    grads = torch.autograd.grad(expected, [t for _, t in present], dy.double())
    found = harness.run(f"{OPERATOR}_backward", (dy, statistics), *given, **options)
    assert [g is None for g in found] == [t is None for t in wide[:4]]
    for (name, _), ours, exact_grad in zip(present, [g for g in found if g is not None], grads, strict=True):
        assert_agrees(ours, exact_grad, GRADIENTS[dtype], f"d{name}")


def check_schedules(size: Size, only: str, **options: Any) -> None:
    for seed in range(4):
        check(size, only, seed=seed, **options)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_agrees_with_the_formula(size: Size) -> None:
    check(size)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [SIZES[1], SIZES[2], SIZES[4]], ids=str)
def test_other_types(size: Size, dtype: torch.dtype) -> None:
    check(size, dtype=dtype)


@pytest.mark.parametrize("size", [SIZES[1], USUAL], ids=str)
def test_the_same_bits_for_every_schedule(size: Size) -> None:
    given, dy = values(size), torch.ones(size.batch, size.channels, size.points)
    results = []
    for seed in range(3):
        y, statistics = harness.run(OPERATOR, *given, seed=seed)
        results.append([y, statistics, *harness.run(f"{OPERATOR}_backward", (dy, statistics), *given, seed=seed)])
    for result in results[1:]:
        assert_all_same(result, results[0], ["y", "statistics", "dx", "dweight", "dbias", "dslope"])


def test_a_mean_far_from_zero_costs_few_digits() -> None:
    """The mean itself is rounded to float32. A variance from sums of squares would be wrong by a hundred per cent."""
    x = torch.randn(2, 3, 5000, generator=torch.Generator().manual_seed(0)) + 3000
    y, _ = harness.run(OPERATOR, x)
    assert_agrees(y, reference.norm_prelu(x.double()), 2e-4)


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0)], ids=str)
def test_empty(shape: tuple[int, int, int]) -> None:
    x, parameter = torch.empty(shape), torch.ones(shape[1])
    y, statistics = harness.run(OPERATOR, x, parameter, parameter, parameter)
    assert y.shape == shape
    assert not statistics.any()
    _, *grads = harness.run(f"{OPERATOR}_backward", (x, statistics), x, parameter, parameter, parameter)
    assert not any(g.any() for g in grads)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("size", [SIZES[1], SIZES[2], Size(5, 3, 6)], ids=str)
def test_no_access_out_of_bounds(size: Size, shift: int) -> None:
    check(size, flavour="asan", shift=shift)


def test_no_data_race() -> None:
    check(SIZES[1], flavour="tsan")


KERNELS = "norm_prelu/norm_prelu.cuh"
# The pass that is enough to show it, or both; a size that does; a text; what replaces it.
MUTANTS = {
    "no barrier before the warps' sums are added": (
        "forward",
        USUAL,
        "sums[threadIdx.x / kWarp] = x;\n  __syncthreads();\n",
        "sums[threadIdx.x / kWarp] = x;\n",
    ),
    "sums overwritten": ("", USUAL, "  __syncthreads();  // the sums before have been read\n", ""),
    "numbers behind a piece": ("forward", SIZES[1], "i < n ? (x.at[i]", "true ? (x.at[i]"),
    "the first piece for all": ("", USUAL, "begin = part % a.pieces * ", "begin = 0 * "),
    "utterances behind the last": ("forward", SIZES[5], "first + a.utterances < a.batch ?", "true ?"),
    "parts counted alike": (
        "forward",
        USUAL,
        "return double(utterances * (",
        "return double(1 + 0 * utterances * (",
    ),
    "channel of the first number for all": (
        "forward",
        SIZES[1],
        "      if (first != last) k = constants_of(ends_before(i + j));\n",
        "",
    ),
    "one slope for all channels": ("forward", SIZES[1], "slope_each ? c : 0", "0"),
    "gradient of the mean left out": ("", SIZES[1], " - k.of_mean", ""),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name: str, tmp_path: Path) -> None:
    only, size, original, replacement = MUTANTS[name]
    cuda = broken(tmp_path, KERNELS, original, replacement)
    with pytest.raises((AssertionError, harness.EmulationError)):
        check_schedules(size, only, folder=cuda, flavour="quick")
