"""Convolutions with stride 2 over bins: torch's in all but the backward pass on the CPU."""

from __future__ import annotations

import copy
import warnings
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lite_rtse_ext import fuse, unfuse
from lite_rtse_ext.nn.conv2d import is_strided, strided_conv2d
from lite_rtse_ext.utils import fallback

from ..compare import assert_agrees, assert_all_agree, assert_same


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def convolution(*sizes: Any, **options: Any) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(*sizes, **options).double()


@pytest.mark.parametrize("bins", [8, 9])
@pytest.mark.parametrize("padding", [(0, 0), (0, 1), (0, 2), (1, 1), (2, 0)], ids=str)
@pytest.mark.parametrize("kernel", [(1, 2), (1, 3), (2, 4), (2, 5), (3, 3)], ids=str)
def test_the_gradients_are_the_same(kernel: tuple[int, int], padding: tuple[int, int], bins: int) -> None:
    for bias in (True, False):
        conv = convolution(3, 4, kernel, (1, 2), padding, bias=bias)
        assert is_strided(conv)
        results = []
        for y_of in (partial(strided_conv2d, conv), conv):
            x = random(2, 3, 5, bins).requires_grad_()
            y = y_of(x)
            results.append([y, *torch.autograd.grad(y, [x, *conv.parameters()], random(*y.shape, seed=1))])
        assert_all_agree(*results, 1e-12, ["y", "x", "weight", *["bias"] * bias])


def test_it_can_be_differentiated_twice() -> None:
    conv = convolution(2, 3, (2, 3), (1, 2))
    assert torch.autograd.gradgradcheck(lambda x: strided_conv2d(conv, x), random(1, 2, 3, 5).requires_grad_())


def test_checkpointing_of_activations_computes_it_again() -> None:
    conv, x = convolution(2, 3, (2, 3), (1, 2)), random(1, 2, 3, 5).requires_grad_()
    results = []
    for y in (checkpoint(partial(strided_conv2d, conv), x, use_reentrant=False), conv(x)):
        results.append(torch.autograd.grad(y.square().sum(), [x, *conv.parameters()]))
    assert_all_agree(*results, 1e-12, ["x", "weight", "bias"])


def test_functional_transforms_inference_and_autocast_are_torchs() -> None:
    conv, x = convolution(3, 4, (2, 3), (1, 2)), random(2, 3, 5, 9)
    for transform in (torch.func.grad, torch.func.jacfwd):
        ours, plain = (
            transform(lambda x, f=f: f(x).square().sum())(x) for f in (lambda x: strided_conv2d(conv, x), conv)
        )
        assert_agrees(ours, plain, 1e-12)
    with torch.no_grad():
        assert_same(strided_conv2d(conv, x), conv(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(strided_conv2d(conv.float(), x.float().requires_grad_()), conv(x.float()))


@pytest.mark.parametrize(
    "options",
    [
        {"stride": (2, 2)},
        {"stride": (1, 2), "groups": 2},
        {"stride": (1, 2), "dilation": (2, 1)},
        {"stride": (1, 2), "padding": 1, "padding_mode": "reflect"},
    ],
    ids=["both strides", "groups", "dilation", "reflection"],
)
def test_others_are_left(options: dict[str, Any]) -> None:
    model = nn.Sequential(convolution(4, 6, (2, 3), **options))
    assert fuse(model).fused == []


def test_fuse_finds_it_and_unfuse_restores_it() -> None:
    plain = nn.Sequential(convolution(4, 6, (2, 3), stride=(1, 2)), nn.ReLU(), convolution(6, 6, (1, 3), stride=(1, 2)))
    model = copy.deepcopy(plain)
    assert [(finding.path, finding.operator) for finding in fuse(model).fused] == [("0", "conv2d"), ("2", "conv2d")]
    results = []
    for each in (model, plain):
        x = random(2, 4, 5, 13).requires_grad_()
        results.append(torch.autograd.grad(each(x).square().sum(), [x, *each.parameters()]))
    assert_all_agree(*results, 1e-12, ["x", *model.state_dict()])
    unfuse(model)
    assert [type(layer) for layer in model] == [nn.Conv2d, nn.ReLU, nn.Conv2d]


def test_on_a_gpu_it_is_torchs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors stand for those of a GPU."""
    fallback._warn.cache_clear()
    monkeypatch.setattr(nn.Conv2d, "forward", lambda conv, x: x)
    with warnings.catch_warnings(record=True) as caught, torch._subclasses.FakeTensorMode():
        warnings.simplefilter("always")
        strided_conv2d(nn.Conv2d(4, 6, 3, (1, 2)), torch.empty(2, 4, 5, 7, device="cuda:0", requires_grad=True))
    assert ["on CUDA cuDNN computes it" in str(w.message) for w in caught] == [True]
