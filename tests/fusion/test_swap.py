"""fuse and unfuse on models in other people's styles: what is swapped, and that nothing else changes."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lite_rtse_ext import LiteRTSE, fuse, reference, unfuse
from lite_rtse_ext import nn as fused_nn
from lite_rtse_ext.ops import _native

from ..compare import assert_agrees, assert_all_agree, assert_same
from .foreign import (
    Cascade,
    ChompedDepthwise,
    GatedBlock,
    MultiOrder,
    MultiScale,
    OtherNames,
    PaddedDepthwise,
    PublicLiteRTSE,
    Rewritten,
)

PUBLIC = {
    "lstm1": "lstm",
    "msmo_conv.0": "conv_block",
    "msmo_conv.1": "conv_block",
    "msmo_conv.2": "multi_order_conv",
    "lstm2": "lstm",
}
OTHER = {
    "front.first": "conv_block",
    "front.second": "conv_block",
    "smooth": "causal_dwconv2d",
    "body": "multi_order_conv",
}


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def public() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return PublicLiteRTSE(bins=9, width=8, order=3).double(), random(2, 9, 8, 2)


def other() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return OtherNames(width=8, order=3).double(), random(2, 1, 8, 9)


models = pytest.mark.parametrize(("make", "blocks"), [(public, PUBLIC), (other, OTHER)], ids=["public", "other"])
Make = Callable[[], tuple[nn.Module, Tensor]]


def gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    y = model(x)
    weight = random(*y.shape, seed=1).to(y)
    return [y, *torch.autograd.grad((y * weight).sum(), list(model.parameters()))]


def only_fused(model: nn.Module) -> dict[str, str]:
    """What fuse swapped, by path; fails if it reports anything as left."""
    report = fuse(model)
    assert not report.left, str(report)
    return {finding.path: finding.operator for finding in report.fused}


# ---- what is fused computes the same, and stays the same model


@models
def test_finds_every_block_and_changes_no_value(make: Make, blocks: dict[str, str]) -> None:
    model, x = make()
    expected = gradients(model, x)
    assert only_fused(model) == blocks
    assert_all_agree(gradients(model, x), expected, 1e-11, ["output", *dict(model.named_parameters())])


@models
def test_unfuse_gives_the_old_model_back(make: Make, blocks: dict[str, str]) -> None:
    model, x = make()
    expected, before = gradients(model, x), [(type(module), dict(vars(module))) for module in model.modules()]
    fuse(model)
    assert unfuse(model) == list(blocks)
    assert [(type(module), dict(vars(module))) for module in model.modules()] == before
    for ours, theirs in zip(gradients(model, x), expected, strict=True):
        assert_same(ours, theirs)
    assert unfuse(model) == []


@models
def test_same_objects_names_and_classes(make: Make, blocks: dict[str, str]) -> None:
    model, _ = make()
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    state, classes = list(model.state_dict()), {path: type(module) for path, module in modules.items()}
    fuse(model)
    assert list(model.state_dict()) == state
    for found, expected in ((dict(model.named_modules()), modules), (dict(model.named_parameters()), parameters)):
        assert list(found) == list(expected)
        assert all(found[path] is expected[path] for path in expected)
    assert all(isinstance(module, classes[path]) for path, module in modules.items())
    assert type(modules["msmo_conv.0" if "msmo_conv.0" in blocks else "body"]).__name__.startswith("Fused")


@models
def test_an_optimizer_built_before_trains_the_fused_model(make: Make, blocks: dict[str, str]) -> None:
    results = []
    for fused in (False, True):
        model, x = make()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        if fused:
            assert only_fused(model) == blocks
        for _ in range(3):
            optimizer.zero_grad()
            (model(x) - x).square().mean().backward()
            optimizer.step()
        results.append(list(model.parameters()))
    assert_all_agree(results[1], results[0], 1e-9, list(dict(model.named_parameters())))


@models
def test_checkpoints_fit_both_ways(make: Make, blocks: dict[str, str]) -> None:
    plain, x = make()
    fused = make()[0]
    assert only_fused(fused) == blocks
    for parameter in fused.parameters():
        parameter.data.mul_(1.5)
    plain.load_state_dict(fused.state_dict())
    assert_agrees(fused(x), plain(x), 1e-11)
    for parameter in plain.parameters():
        parameter.data.mul_(0.5)
    fused.load_state_dict(plain.state_dict())
    assert_agrees(fused(x), plain(x), 1e-11)


@models
def test_copies_and_pickles_are_fused_and_stand_on_their_own(make: Make, blocks: dict[str, str]) -> None:
    model, x = make()
    fuse(model)
    expected = model(x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)]
    for twin in twins:
        assert_same(twin(x), expected)
        for parameter in twin.parameters():
            parameter.data.zero_()
        assert unfuse(twin) == list(blocks)
    assert_same(model(x), expected)


def test_compiles() -> None:
    model, x = other()
    fuse(model)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_all_agree(gradients(compiled, x), gradients(model, x), 1e-11, ["output", *dict(model.named_parameters())])


@models
def test_fusing_twice_is_fusing_once(make: Make, blocks: dict[str, str]) -> None:
    model, _ = make()
    fuse(model)
    again = fuse(model)
    assert (again.fused, again.left, again.already) == ([], [], list(blocks))
    assert unfuse(model) == list(blocks)


@models
def test_mode_gradients_flags_and_random_state_are_left_alone(make: Make, blocks: dict[str, str]) -> None:
    model, _ = make()
    next(model.children()).eval()
    next(model.parameters()).requires_grad_(False)
    state = torch.get_rng_state()
    with torch.no_grad():
        assert only_fused(model) == blocks
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not next(model.children()).training
    flags = [parameter.requires_grad for parameter in model.parameters()]
    assert flags == [False] + [True] * (len(flags) - 1)
    assert all(parameter.grad is None for parameter in model.parameters())


# ---- where a block may be


@pytest.mark.parametrize(
    ("block", "operator", "channels"),
    [
        (MultiScale(3, 4), "conv_block", 3),
        (MultiScale(4, 4), "conv_block", 4),
        (GatedBlock(4, 4), "conv_block", 4),
        (MultiOrder(8, 2), "multi_order_conv", 4),
        (MultiOrder(8, 4), "multi_order_conv", 4),
        (Cascade(8, 8, 3, 3), "multi_order_conv", 8),
        (PaddedDepthwise(3, 7), "causal_dwconv2d", 3),
        (ChompedDepthwise(3, 3), "causal_dwconv2d", 3),
        (
            nn.Sequential(nn.ZeroPad2d((2, 2, 2, 0)), nn.Conv2d(3, 3, (3, 5), groups=3, bias=False)),
            "causal_dwconv2d",
            3,
        ),
        (nn.Conv2d(3, 3, (1, 5), padding=(0, 2), groups=3), "causal_dwconv2d", 3),
        (reference.ConvBlock(2, 4), "conv_block", 2),
        (reference.MultiOrderConv(8, 3, out_channels=8), "multi_order_conv", 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_itself_can_be_a_block(block: nn.Module, operator: str, channels: int, dtype: torch.dtype) -> None:
    block = copy.deepcopy(block).to(dtype)
    x = random(2, channels, 9, 8).to(dtype)
    expected = block(x)
    assert only_fused(block) == {"": operator}
    assert_agrees(block(x), expected, 20 * torch.finfo(dtype).eps)
    assert unfuse(block) == [""]


def test_the_block_is_fused_not_what_is_around_it() -> None:
    model = nn.Sequential(nn.Sequential(MultiScale(2, 4)))
    assert only_fused(model) == {"0.0": "conv_block"}


def test_a_block_used_twice_is_one_block() -> None:
    block = MultiScale(2, 2)
    model = nn.ModuleDict({"a": block, "b": nn.Sequential(block, nn.Tanh())})
    assert only_fused(model) == {"a": "conv_block"}
    assert model["b"][0] is block
    assert unfuse(model) == ["a"]


def test_our_own_modules_are_named_as_fused() -> None:
    report = fuse(LiteRTSE(bins=5, channels=4, order=2))
    assert report.left == []
    assert [finding.path for finding in report.fused] == ["lstm1", "lstm2"]  # PyTorch's own, run by run_lstm
    assert report.already == ["msmo_conv.0", "msmo_conv.1", "msmo_conv.2", "mask_residual"]
    assert fuse(fused_nn.CausalDepthwiseConv2d(2, 3)).already == [""]


def test_the_reference_network_is_fused_whole() -> None:
    torch.manual_seed(0)
    model, x = reference.LiteRTSE(bins=9, channels=8, order=3).double(), random(2, 9, 8, 2)
    expected = gradients(model, x)
    assert only_fused(model) == PUBLIC | {"mask_residual": "mask_residual"}
    assert_all_agree(gradients(model, x), expected, 1e-11, ["output", *dict(model.named_parameters())])
    assert bool(torch.autograd.grad(model(silent := 0 * x.requires_grad_()).sum(), silent)[0].isfinite().all())
    assert fuse(pickle.loads(pickle.dumps(model))).already == [*PUBLIC, "mask_residual"]
    assert unfuse(model) == [*PUBLIC, "mask_residual"]
    assert type(model.mask_residual) is reference.MaskResidual


def test_a_reconstruction_that_computes_something_else_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = reference.MaskResidual.forward
    monkeypatch.setattr(reference.MaskResidual, "forward", lambda self, x, *rest: exact(self, 1.001 * x, *rest))
    (left,) = fuse(reference.MaskResidual()).left
    assert left.operator == "mask_residual"
    assert "computes something else" in left.reason


def test_a_reconstruction_with_a_forward_of_its_own_is_left() -> None:
    block = reference.MaskResidual()
    block.forward = lambda spectrogram, *_: spectrogram
    (left,) = fuse(block).left
    assert "it has a forward of its own" in left.reason


def test_hooks_on_the_block_itself_still_run() -> None:
    block, calls = MultiScale(2, 4), []
    block.register_forward_hook(lambda *_: calls.append("after"))
    block.register_forward_pre_hook(lambda *_: calls.append("before"))
    assert only_fused(block) == {"": "conv_block"}
    assert calls == []  # not even while it was tried
    block(torch.zeros(1, 2, 3, 3))
    assert calls == ["before", "after"]


def test_a_frozen_block_of_zeros_is_fused() -> None:
    """Neither zeros, which would make any two computations alike, nor frozen parameters blind the check."""
    block = MultiScale(2, 4).requires_grad_(False)
    for parameter in block.parameters():
        parameter.zero_()
    assert only_fused(block) == {"": "conv_block"}
    assert not any(parameter.any() or parameter.requires_grad for parameter in block.parameters())


def test_the_rest_is_reported_beside_what_is_fused() -> None:
    model = nn.ModuleDict({"good": MultiScale(2, 4), "bad": Rewritten(lambda block, x: block.conv(x))})
    report = fuse(model)
    assert str(report).splitlines() == [
        "fused (2):",
        "  good: MultiScale, conv_block",
        "  bad.conv.2: Conv2d, causal_dwconv2d",
        "left in plain PyTorch (1):",
        f"  bad: Rewritten, conv_block: {report.left[0].reason}",
    ]
    assert "fused before (2):\n  good" in str(fuse(model))


def test_without_compiled_operators_fuse_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "_library", None)
    with pytest.raises(RuntimeError, match="cannot run its fused operators"):
        fuse(MultiScale(2, 4))


def test_fuses_on_every_device(device: torch.device) -> None:
    model, x = other()
    model, x = model.to(device), x.to(device)
    expected = gradients(model, x)
    assert only_fused(model) == OTHER
    assert_all_agree(gradients(model, x), expected, 1e-10, ["output", *dict(model.named_parameters())])


@pytest.mark.parametrize("change", [fuse, unfuse])
def test_what_is_no_module_is_refused(change: Callable[[nn.Module], object]) -> None:
    with pytest.raises(TypeError, match=r"model: expected a torch\.nn\.Module, got type"):
        change(nn.Linear)  # type: ignore[arg-type]
