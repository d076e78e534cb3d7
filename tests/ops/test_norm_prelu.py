"""What norm_prelu has of its own: given statistics, absent parameters, the statistics themselves, and its errors."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.ops import norm_prelu

from ..compare import assert_agrees, assert_all_agree, assert_same

NAMES = ("x", "weight", "bias", "slope")


def random(*size: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def gradients(function: object, values: list[Tensor | None], more: tuple[object, ...]) -> list[Tensor]:
    leaves = [None if v is None else v.detach().requires_grad_() for v in values]
    y = function(*leaves, *more)  # type: ignore[operator]
    y = y[0] if isinstance(y, tuple) else y
    present = [leaf for leaf in leaves if leaf is not None]
    return [y, *torch.autograd.grad((y * random(*y.shape, seed=9, dtype=y.dtype)).sum(), present)]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("absent", list(itertools.product((True, False), repeat=3)), ids=str)
def test_any_parameter_may_be_absent(absent: tuple[bool, ...], given: bool) -> None:
    x = random(3, 5, 41) + 3
    parameters = [None if gone else random(5, seed=i + 1) for i, gone in enumerate(absent)]
    statistics = (random(5, seed=7), random(5, seed=8).square()) if given else (None, None)
    ours = gradients(norm_prelu, [x, *parameters], (*statistics, 1e-3))
    wide = [None if t is None else t.double() for t in (x, *parameters, *statistics)]
    exact = gradients(reference.norm_prelu, wide[:4], (*wide[4:], 1e-3))
    assert_all_agree(
        ours, exact, 1e-5, ["y", *(n for n, v in zip(NAMES, (x, *parameters), strict=True) if v is not None)]
    )


@pytest.mark.parametrize("size", [(3, 5), (3, 5, 4, 7), (3, 5, 2, 3, 4)], ids=str)
def test_all_dimensions_after_the_channels_are_points(size: tuple[int, ...]) -> None:
    x = random(*size)
    flat, statistics = norm_prelu(x.reshape(3, 5, -1))
    y, same = norm_prelu(x)
    assert_same(y, flat.view(size))
    assert_same(same, statistics)
    if x.dim() == 4:
        assert_same(norm_prelu(x.to(memory_format=torch.channels_last))[0], y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_the_statistics_are_those_of_the_channels(dtype: torch.dtype) -> None:
    x = random(4, 6, 999, dtype=dtype)
    _, statistics = norm_prelu(x)
    assert statistics.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert not statistics.requires_grad
    assert_agrees(statistics, torch.stack(reference.channel_statistics(x.double())), 1e-6)


def test_a_mean_far_from_zero_costs_few_digits() -> None:
    """The mean itself is rounded to float32. A variance from sums of squares would be wrong by a hundred per cent."""
    x = random(2, 3, 5000) + 3000
    y, _ = norm_prelu(x)
    assert_agrees(y, reference.norm_prelu(x.double()), 2e-4)


def test_prelu_alone_is_exact() -> None:
    x, slope = random(2, 3, 50), random(3, seed=1)
    x[0, 0, :3] = torch.tensor([0.0, float("nan"), float("-inf")])
    y, _ = norm_prelu(x, slope=slope, mean=torch.zeros(3), var=torch.ones(3), eps=0.0)
    assert torch.equal(y.nan_to_num(9.0), torch.nn.functional.prelu(x, slope).nan_to_num(9.0))


def test_errors_name_the_argument() -> None:
    x, five = random(2, 5, 7), random(5)
    for arguments, words in (
        ({"weight": random(4)}, r"weight has shape \(4\), must be \(5\)"),
        ({"slope": random(2)}, r"slope has shape \(2\), must be \(5\): \(1\) or"),
        ({"bias": five.double()}, "bias has dtype Double, must be that of x"),
        ({"mean": five}, "mean and var: one is None"),
        ({"mean": five.clone().requires_grad_(), "var": five}, "mean requires a gradient"),
        ({"eps": -1.0}, "eps is -1, must be at least 0"),
    ):
        with pytest.raises(RuntimeError, match=words):
            norm_prelu(x, **arguments)
    with pytest.raises(RuntimeError, match=r"must be \(batch, channels, \.\.\.\)"):
        norm_prelu(five)
    with pytest.raises(TypeError, match="x is list"):
        norm_prelu([1.0])  # type: ignore[arg-type]


def test_errors_of_the_statistics() -> None:
    x = random(2, 5, 7)
    y, statistics = norm_prelu(x)
    for wrong, words in (
        (statistics.to("meta"), "statistics is on meta, must be on the device of x, cpu"),
        (statistics.double(), "statistics has dtype"),
        (statistics[:1], "statistics has shape"),
    ):
        with pytest.raises(RuntimeError, match=words):
            torch.ops.lite_rtse.norm_prelu_backward(y, x, None, None, None, wrong, True, 1e-5, True, True)
