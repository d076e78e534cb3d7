"""Look-alikes that fuse must leave: modules with a block's layers that don't compute it, or that hold more than it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext import fuse

from .foreign import MultiOrder, MultiScale, Rewritten


def only_left(model: nn.Module) -> str:
    """The reason of the one block that fuse left; fails if it swapped any but single layers in it."""
    types = {path: type(module) for path, module in model.named_modules()}
    report = fuse(model)
    layers = {finding.path for finding in report.fused}
    assert all(not list(model.get_submodule(path).children()) for path in layers), str(report)
    assert len(report.left) == 1, str(report)
    assert {p: type(m) for p, m in model.named_modules() if p not in layers} == {
        path: kind for path, kind in types.items() if path not in layers
    }
    return report.left[0].reason


def pads_before_entry(block: MultiScale, x: Tensor) -> Tensor:
    """The zeros go around x, so that outside the plane the entry's bias stands: the same only if the bias is zero."""
    entry, pad, depthwise, leave = block.conv
    return leave(depthwise(entry(pad(x)))) * block.skip(x)


def keeps(block: MultiScale, x: Tensor) -> Tensor:
    block.conv.last = x  # type: ignore[assignment]
    return block.conv(x) * block.skip(x)


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda block, x: block.conv(x) + block.skip(x), "computes something else"),
        (lambda block, x: block.conv(x) * torch.sigmoid(block.skip(x)), "computes something else"),
        (lambda block, x: block.conv(x) * torch.tanh(block.skip(x)), "computes something else"),
        (lambda block, x: block.conv(x), "computes something else"),
        (lambda block, x: (block.conv(x) * block.skip(x)).clamp(-20, 20), "computes something else"),
        (
            lambda block, x: functional.dropout(block.conv(x) * block.skip(x), 0.1, block.training),
            "computes something else",
        ),
        (lambda block, x: block.conv(x) * block.skip(x).detach(), "computes something else"),
        (lambda block, x: (block.conv(x) * block.skip(x))[:, :, 1:], "relative difference inf"),
        (pads_before_entry, "computes something else"),
        (lambda block, x: (block.conv(x), block.skip(x)), "TypeError: it returned tuple"),
        (keeps, "TypeError: it sets conv.last"),
        (lambda block, x: x.no_such_thing, "forward failed on a small random input: AttributeError"),
    ],
)
@pytest.mark.parametrize("zero", ["nothing", "bias", ""])
def test_another_forward_is_left(forward: Callable[[MultiScale, Tensor], object], reason: str, zero: str) -> None:
    block = Rewritten(forward)
    for name, parameter in block.named_parameters():
        parameter.data.mul_(not name.endswith(zero))
    assert reason in only_left(block)


def test_two_gates_exchanged_are_left() -> None:
    class Exchanged(MultiOrder):
        def forward(self, x: Tensor) -> Tensor:
            x = self.pwconv1(x)
            deep, point = x[:, : -self.gates[0]], x[:, -self.gates[0] :]
            for gate, depthwise, pointwise in zip(self.gates, self.dwconvs, self.pwconvs, strict=True):
                deep = depthwise(deep)
                point = pointwise(point * deep[:, :gate])  # the gate is taken from the front
                deep = deep[:, gate:]
            return self.pwconvN(deep * point)

    report = fuse(Exchanged(8, 3))
    assert [finding.path for finding in report.fused] == ["dwconvs.0", "dwconvs.1"]  # each alone is what it looks like
    assert len(report.left) == 1
    assert "computes something else" in report.left[0].reason


class Loop(nn.Module):
    """The convolutions of a Conv-Block of any making, in a forward that would suit it."""

    def __init__(self, depthwise: nn.Module, pad: nn.Module, leave: nn.Module | None = None) -> None:
        super().__init__()
        self.enter, self.pad, self.depthwise = nn.Conv2d(2, 4, 1), pad, depthwise
        self.leave, self.skip = leave or nn.Conv2d(4, 4, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.depthwise(self.pad(self.enter(x)))) * self.skip(x)


class Scaled(nn.Conv2d):
    """Someone's own kind of convolution."""


CAUSAL = nn.ZeroPad2d((1, 1, 2, 0))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (
            Loop(nn.Conv2d(4, 4, 3, groups=4), nn.ZeroPad2d(1)),
            "pad pads (1, 1, 1, 1), which is not causal; (1, 1, 2, 0) is",
        ),
        (Loop(nn.Conv2d(4, 4, 3, groups=4), nn.ZeroPad2d((2, 0, 1, 1))), "causal along the last dimension"),
        (Loop(nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.Identity()), "depthwise pads (1, 1), which is not causal"),
        (Loop(nn.Conv2d(4, 4, 3, groups=4, padding="same"), nn.Identity()), "depthwise pads same, which is not causal"),
        (Loop(nn.Conv2d(4, 4, 3, groups=4), nn.ReflectionPad2d((1, 1, 2, 0))), "holds pad (ReflectionPad2d)"),
        (Loop(nn.Conv2d(4, 4, 3, groups=4, stride=(1, 2)), CAUSAL), "depthwise has stride (1, 2)"),
        (Loop(nn.Conv2d(4, 4, 3, groups=4, dilation=2), nn.ZeroPad2d((2, 2, 4, 0))), "depthwise has dilation (2, 2)"),
        (Loop(nn.Conv2d(4, 4, 3, groups=4, padding_mode="circular"), CAUSAL), "pads with circular, not with zeros"),
        (Loop(nn.Conv2d(4, 4, 5, groups=4), nn.ZeroPad2d((2, 2, 4, 0))), "its kernel is (5, 5), not (3, 3)"),
        (Loop(nn.Conv2d(4, 4, (2, 3), groups=4), nn.ZeroPad2d((1, 1, 1, 0))), "its kernel (2, 3) is not odd"),
        (Loop(nn.Conv2d(4, 4, 3), CAUSAL), "depthwise (Conv2d) is not depthwise"),
        (Loop(Scaled(4, 4, 3, groups=4), CAUSAL), "depthwise is a Scaled, a subclass of Conv2d"),
        (Loop(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.PReLU()), CAUSAL), "holds depthwise.1 (PReLU)"),
        (
            Loop(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4)), CAUSAL),
            "holds depthwise.1 (BatchNorm2d)",
        ),
        (Loop(nn.Conv2d(4, 4, 3, groups=4), CAUSAL, nn.Conv2d(4, 4, 1).double()), "are torch.float32, torch.float64"),
        (
            Loop(nn.Conv2d(4, 4, 3, groups=4), CAUSAL, nn.Conv2d(4, 4, 1, device="meta")),
            "its parameters are on cpu, meta",
        ),
        (
            Loop(nn.Conv2d(4, 4, 3, groups=4), CAUSAL, nn.Conv2d(4, 4, 1, padding=1)),
            "leave is pointwise and pads (1, 1)",
        ),
        (nn.Conv2d(4, 4, 3, groups=4, padding=1), "it pads (1, 1), which is not causal"),
    ],
)
def test_another_structure_is_left(block: nn.Module, reason: str) -> None:
    assert reason in only_left(block)


def test_what_would_no_longer_run_is_left() -> None:
    hooked, parametrized, patched, owner, extra = (MultiScale(2, 4) for _ in range(5))
    hooked.conv[2].register_forward_hook(lambda *_: None)
    assert only_left(hooked) == "conv.2 has hooks, which would no longer run"
    nn.utils.parametrizations.weight_norm(parametrized.conv[2])
    assert "conv.2 is parametrized" in only_left(parametrized)
    patched.forward = lambda x: x  # type: ignore[method-assign]
    assert "it has a forward of its own, set on the instance" in only_left(patched)
    owner.register_buffer("scale", torch.ones(1))
    assert only_left(owner) == "it holds a tensor of its own (scale)"
    extra.conv.append(nn.Dropout(0.1))
    assert only_left(extra) == "holds conv.4 (Dropout)"


def test_a_forward_of_more_arguments_is_left() -> None:
    class Stateful(MultiScale):
        def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
            return super().forward(x)

    assert "not one tensor" in only_left(Stateful(2, 4))


def test_a_block_that_cannot_be_copied_is_left() -> None:
    block = MultiScale(2, 4)
    block.lock = torch.zeros(1, requires_grad=True) * 2  # not a leaf: deepcopy refuses
    assert "its forward failed" in only_left(block) or "deepcopy" in only_left(block)


def test_the_operators_own_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Tensor:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("lite_rtse_ext.ops.conv_block", refuse)
    assert only_left(MultiScale(2, 4)) == "the operator refused it: no such kernel"


def test_other_networks_are_left_in_peace() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.RNN(8, 8), nn.Linear(8, 8), nn.Conv2d(8, 8, 1))
    report = fuse(model)
    assert (report.fused, report.left, report.already) == ([], [], [])
