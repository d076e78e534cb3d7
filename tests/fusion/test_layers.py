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
from .foreign import PaddedDepthwise


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
        assert y.is_contiguous()  # as PyTorch's, so that a network may call view
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


@pytest.mark.parametrize("size", [(4, 7, 9), (2, 4, 2, 9), (2, 4, 7, 2), (2, 4, 3, 3)], ids=str)
def test_a_convolution_without_a_batch_or_below_its_kernel_is_torchs(size: tuple[int, ...]) -> None:
    plain = nn.Sequential(depthwise())
    model, x = copy.deepcopy(plain), torch.randn(size)
    assert fuse(model).fused
    if min(size[-2:]) < 3:
        with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
            model(x)
    else:
        assert_all_agree([model(x)], [plain(x)], 1e-5, ["y"])


class Keywords(nn.Module):
    """Calls a block and two layers with the names of their inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.conv, self.last = PaddedDepthwise(4, 3), depthwise(), nn.Conv2d(4, 4, (1, 3), (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(input=self.conv(input=self.block(features=x)))


def test_an_input_may_be_given_by_its_name() -> None:
    plain = Keywords()
    model, x = copy.deepcopy(plain), torch.randn(2, 4, 7, 9)
    assert [finding.path for finding in fuse(model).fused] == ["block", "conv", "last"]
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_all_agree([model(x), compiled(x)], 2 * [plain(x)], 1e-5, ["eager", "compiled"])
    for arguments, named in (((), {}), ((x, x), {}), ((), {"y": x}), ((x,), {"input": x})):
        with pytest.raises(TypeError, match="argument"):
            model.conv(*arguments, **named)


@pytest.mark.parametrize(
    ("layer", "size", "dim"),
    [
        (nn.Linear(64, 64), (1, 4, 64), 1),
        (nn.Conv1d(64, 64, 1), (1, 64, 4), 2),
        (nn.BatchNorm2d(8).eval(), (1, 8, 4, 9), 2),
        (nn.PReLU(), (1, 8, 4, 9), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_an_exported_layer_holds_for_more_values_than_its_example_had(
    layer: nn.Module, size: tuple[int, ...], dim: int
) -> None:
    """In eager mode few values take another way than many."""
    model = nn.Sequential(copy.deepcopy(layer))
    assert fuse(model).fused
    frames = torch.export.Dim("frames", min=2, max=4000)
    program = torch.export.export(model, (torch.randn(size),), dynamic_shapes=({dim: frames},)).module()
    x = torch.randn(*size[:dim], 3000, *size[dim + 1 :])
    assert_all_agree([program(x).detach()], [layer(x).detach()], 1e-5, ["y"])
