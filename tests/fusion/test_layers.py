"""Single layers that fuse finds in other people's networks, padded by their surroundings, dilated or transposed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext import fuse, unfuse

from ..compare import assert_all_agree
from ..ops.operators import Recorder


class Around(nn.Module):
    """A depthwise convolution that is padded in front of it, after a layer that no operator computes."""

    def __init__(self, conv: nn.Module, frames: int, bins: int) -> None:
        super().__init__()
        self.enter, self.conv, self.margin = nn.Conv2d(3, 4, 1), conv, (bins, bins, frames, 0)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        return self.conv(functional.pad(torch.tanh(self.enter(x)), self.margin))


def depthwise(kind: type[nn.Module] = nn.Conv2d, kernel: tuple[int, int] = (3, 3), **options: object) -> nn.Module:
    return kind(4, 4, kernel, groups=4, **options)


FOUND = {
    "bins padded inside": (depthwise(padding=(0, 1)), 2, 0),
    "bins padded outside": (depthwise(), 2, 1),
    "no bias": (depthwise(padding=(0, 1), bias=False), 2, 0),
    "dilated": (depthwise(padding=(0, 1), dilation=(5, 1)), 10, 0),
    "another kernel, dilated, padded outside": (depthwise(kernel=(3, 5), dilation=(2, 1)), 4, 2),
    "fewer bins": (depthwise(kernel=(5, 3)), 4, 0),
    "transposed": (depthwise(nn.ConvTranspose2d, padding=(2, 1)), 2, 0),
    "transposed and dilated": (depthwise(nn.ConvTranspose2d, padding=(10, 1), dilation=(5, 1)), 10, 0),
    "transposed and padded behind": (depthwise(nn.ConvTranspose2d, padding=(0, 1), dilation=(2, 1)), 0, 0),
}


@pytest.mark.parametrize(("conv", "frames", "bins"), FOUND.values(), ids=FOUND)
def test_a_depthwise_convolution_is_found(conv: nn.Module, frames: int, bins: int) -> None:
    torch.manual_seed(0)
    plain = Around(conv, frames, bins).double()
    model = copy.deepcopy(plain)
    assert [finding.path for finding in fuse(model).fused] == ["conv"]
    x = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    results = []
    for each in (model, plain):
        with Recorder() as recorder:
            y = each(x)
        assert bool(recorder.calls) == (each is model)
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        results.append([y, *torch.autograd.grad((y * weight).sum(), list(each.parameters()))])
    assert_all_agree(*results, 1e-11, [str(i) for i in range(len(results[0]))])
    assert unfuse(model) == ["conv"]


LEFT = {
    "dilated over bins": (depthwise(padding=(0, 1), dilation=(1, 2)), "dilation (1, 2)"),
    "padded at both ends": (depthwise(padding=1), "it pads (1, 1), which is not causal"),
    "an even kernel": (depthwise(kernel=(2, 3)), "its kernel (2, 3) is not odd"),
    "a stride": (depthwise(stride=(1, 2)), "stride (1, 2)"),
}


@pytest.mark.parametrize(("conv", "reason"), LEFT.values(), ids=LEFT)
def test_another_convolution_is_left_with_the_reason(conv: nn.Module, reason: str) -> None:
    report = fuse(Around(conv, 2, 0))
    assert not report.fused
    assert reason in report.left[0].reason
