"""fuse and unfuse beside what else changes a model: other classes, hooks that compute weights, no values yet."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from lite_rtse_ext import LiteRTSE, fuse, reference, unfuse

from ..compare import assert_agrees, assert_all_agree, assert_same
from .changes import CHANGES, Wrapper
from .foreign import MultiScale, PaddedDepthwise
from .test_swap import PUBLIC, random


def by_parametrization(block: nn.Module) -> None:
    """As weight_norm does: a class made at run time, derived from the block's."""
    name, _ = next(iter(block.named_parameters(recurse=False)))
    parametrizations.weight_norm(block, name)


def by_another_class(block: nn.Module) -> None:
    """As fully_shard does: a class of its own before the block's."""
    block.__class__ = type(f"Sharded{type(block).__name__}", (Sharded, type(block)), {})


class Sharded:
    """Someone else's class that is put before a module's own."""


def swaps() -> list[tuple[Callable[[nn.Module], None], str]]:
    lstms = [(by_parametrization, path) for path, operator in PUBLIC.items() if operator == "lstm"]
    return lstms + [(by_another_class, path) for path in [*PUBLIC, "mask_residual"]]


@pytest.mark.filterwarnings("ignore:")
@pytest.mark.parametrize(("swap", "path"), swaps())
def test_unfuse_changes_nothing_where_a_class_was_changed_since(swap: Callable[[nn.Module], None], path: str) -> None:
    torch.manual_seed(0)
    model, x = reference.LiteRTSE(bins=9, channels=8, order=3), random(2, 9, 8, 2).float()
    plain = copy.deepcopy(model)
    fuse(model)
    swap(model.get_submodule(path))
    expected, types = model(x), [type(module) for module in model.modules()]
    with pytest.raises(RuntimeError, match=rf"^{path}: its class was changed to \w+ after fuse"):
        unfuse(model)
    assert [type(module) for module in model.modules()] == types
    assert_same(model(x), expected)
    assert_agrees(model(x), plain(x), 1e-5)
    with pytest.raises((RuntimeError, pickle.PicklingError)):
        pickle.dumps(model)


def test_unfuse_works_once_the_parametrization_is_gone() -> None:
    model, x = reference.LiteRTSE(bins=9, channels=8, order=3), random(2, 9, 8, 2).float()
    expected = model(x)
    fuse(model)
    parametrizations.weight_norm(model.lstm1, "weight_hh_l0")
    parametrize.remove_parametrizations(model.lstm1, "weight_hh_l0")
    assert unfuse(model) == [*PUBLIC, "mask_residual"]
    assert type(model.lstm1) is nn.LSTM
    assert_agrees(model(x), expected, 1e-6)


def test_a_parametrization_inside_a_block_does_not_hinder_unfuse() -> None:
    block, x = MultiScale(2, 4), random(1, 2, 4, 5).float()
    fuse(block)
    parametrizations.weight_norm(block.conv[2])
    fused = block(x)
    assert unfuse(block) == [""]
    assert_agrees(block(x), fused, 1e-6)


HOOKS: dict[str, Callable[[nn.Module], object]] = {
    "pruning": lambda conv: prune.l1_unstructured(conv, "weight", 0.5),
    "pruning twice": lambda conv: (prune.random_unstructured(conv, "bias", 0.5), prune.identity(conv, "weight")),
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
}


@pytest.mark.filterwarnings("ignore:")
@pytest.mark.parametrize("how", HOOKS)
@pytest.mark.parametrize("path", ["msmo_conv.0.conv.0", "msmo_conv.1.skip", "msmo_conv.2.dwconvs.1.1", "smooth"])
def test_hooks_that_compute_weights_run_inside_blocks(how: str, path: str) -> None:
    """After fuse and in this package's own modules, as in the block's own forward."""
    trained = []
    for kind in ("plain", "fused", "ours"):
        torch.manual_seed(0)
        model = {"plain": reference.LiteRTSE, "fused": reference.LiteRTSE, "ours": LiteRTSE}[kind](9, 8, 3).double()
        model.smooth = PaddedDepthwise(2, 3).double()
        if kind == "fused":
            fuse(model)
        torch.manual_seed(1)
        HOOKS[how](model.get_submodule("smooth.kernel" if path == "smooth" else path))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for step in range(3):
            optimizer.zero_grad()
            x = model.smooth(random(2, 2, 8, 9, seed=step)).permute(0, 3, 2, 1)
            model(x).square().mean().backward()
            optimizer.step()
        trained.append(dict(model.named_parameters()))
    for actual in trained[1:]:
        assert_all_agree([actual[name] for name in trained[0]], list(trained[0].values()), 1e-9, list(trained[0]))


@pytest.mark.parametrize(("change", "path"), [*product(CHANGES, ("conv.0", "skip")), (Wrapper, "conv")])
def test_a_block_calls_what_was_put_in_the_place_of_a_convolution(change: Callable[..., nn.Module], path: str) -> None:
    plain, x = MultiScale(2, 4), random(1, 2, 4, 5).float()
    fused = copy.deepcopy(plain)
    fuse(fused)
    for block in (plain, fused):
        torch.manual_seed(0)
        block.set_submodule(path, change(block.get_submodule(path)))
    assert_agrees(fused(x), plain(x), 1e-5)
    assert unfuse(fused) == [""]


def test_torch_fx_traces_the_layers_of_a_block() -> None:
    model, x = nn.Sequential(MultiScale(2, 4), PaddedDepthwise(4, 3)), random(1, 2, 4, 5).float()
    expected = model(x)
    fuse(model)
    traced = torch.fx.symbolic_trace(model)
    assert {"0.conv.0", "0.skip", "1.kernel"} <= {str(node.target) for node in traced.graph.nodes}
    assert_agrees(traced(x), expected, 1e-5)


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_without_values_is_fused_whole(inside: bool) -> None:
    with torch.device("meta"):
        model = reference.LiteRTSE(bins=9, channels=8, order=3)
        report = fuse(model) if inside else None
    report = report or fuse(model)
    assert {finding.path: finding.operator for finding in report.fused} == PUBLIC | {"mask_residual": "mask_residual"}
    assert not report.left
    assert all(parameter.is_meta for parameter in model.parameters())
    plain, x = reference.LiteRTSE(bins=9, channels=8, order=3), random(2, 9, 8, 2).float()
    model.load_state_dict(plain.state_dict(), assign=True)
    assert_agrees(model(x), plain(x), 1e-5)
    assert unfuse(model) == [*PUBLIC, "mask_residual"]


@pytest.mark.filterwarnings("ignore:")
def test_quantized_layers_stay_and_the_others_are_fused() -> None:
    """The other way round, PyTorch finds its own classes only, and leaves the fused layers in float32."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"lstm": nn.LSTM(64, 64), "gru": nn.GRU(64, 64), "linear": nn.Linear(64, 64)})
    model["conv"] = nn.Conv1d(64, 64, 1)

    def run(model: nn.ModuleDict) -> torch.Tensor:
        x = random(50, 4, 64).float()
        for name in ("lstm", "gru"):
            x, _ = model[name](x)
        return model["conv"](model["linear"](x).transpose(1, 2)).detach()

    def quantized(model: nn.ModuleDict) -> nn.ModuleDict:
        return torch.ao.quantization.quantize_dynamic(model, {nn.LSTM, nn.GRU, nn.Linear})

    def names(model: nn.ModuleDict) -> list[str]:
        return [name for name, layer in model.items() if type(layer).__module__.startswith("torch.ao.")]

    expected, before = run(model), quantized(model)
    rounded = run(before)
    assert [finding.path for finding in fuse(before).fused] == ["conv"]
    assert names(before) == ["lstm", "gru", "linear"]
    assert_agrees(run(before), rounded, 1e-6)
    assert float((rounded - expected).norm() / expected.norm()) < 0.1
    fuse(model)
    after = quantized(model)
    assert names(after) == []
    assert_agrees(run(after), expected, 1e-5)
    unfuse(after)
    assert names(quantized(after)) == ["lstm", "gru", "linear"]
