"""``nn.Conv1d`` of this package: torch's module in all but how it runs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lite_rtse_ext import fuse, unfuse
from lite_rtse_ext import nn as fused
from lite_rtse_ext.nn import conv1d

from ..compare import assert_all_agree, assert_same
from ..ops.operators import Recorder

SIZES = (40, 70)


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator also runs for few points."""
    monkeypatch.setattr(conv1d, "_LEAST_PRODUCTS", 0)


def frames(count: int = 33, channels: int = SIZES[0]) -> Tensor:
    return torch.randn(3, channels, count, generator=torch.Generator().manual_seed(1))


def both(*sizes: object, **options: object) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    ours, plain = (kind(*sizes, **options) for kind in (fused.Conv1d, nn.Conv1d))
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"padding": "same"}, {"dilation": 3}], ids=str)
def test_it_runs_the_operator_in_training_and_inference(options: dict[str, object]) -> None:
    ours, plain = both(*SIZES, 1, **options)
    results = []
    for module, dtype in ((ours, torch.float32), (plain.double(), torch.float64)):
        x = frames().to(dtype).requires_grad_()
        with Recorder() as recorder:
            y = module(x)
            weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
            found = torch.autograd.grad((y * weight).sum(), [x, *module.parameters()])
        assert len(recorder.calls) == (2 if module is ours else 0)
        results.append([y, *found])
    assert_all_agree(*results, 1e-5, [str(i) for i in range(len(results[0]))])
    with torch.no_grad():
        assert_same(ours(frames()), results[0][0].detach())


OTHERS = {
    "three taps": (both(*SIZES, 3), frames()),
    "a stride": (both(*SIZES, 1, stride=2), frames()),
    "two groups": (both(*SIZES, 1, groups=2), frames()),
    "padding": (both(*SIZES, 1, padding=1), frames()),
    "few weights": (both(8, 8, 1), frames(channels=8)),
    "no batch": (both(*SIZES, 1), frames()[0]),
    "float64": (tuple(m.double() for m in both(*SIZES, 1)), frames().double()),
}


@pytest.mark.parametrize(("modules", "x"), OTHERS.values(), ids=OTHERS)
def test_other_convolutions_are_torchs(modules: tuple[nn.Module, nn.Module], x: Tensor) -> None:
    with Recorder() as recorder:
        found, expected = (module(x) for module in modules)
    assert not recorder.calls
    assert_same(found.detach(), expected.detach())


def test_few_points_autocast_and_errors_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, plain = both(*SIZES, 1)
    with Recorder() as recorder, torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            assert_same(ours(frames()), plain(frames()))
        monkeypatch.setattr(conv1d, "_LEAST_PRODUCTS", 3 * 33 * SIZES[0] * SIZES[1] + 1)
        assert_same(ours(frames()), plain(frames()))
        for wrong in (frames(channels=41), frames().double(), frames()[..., None]):
            with pytest.raises(RuntimeError):
                ours(wrong)
    assert not recorder.calls


def test_a_trace_holds_torchs_convolution() -> None:
    ours, plain = both(*SIZES, 1)
    traced = torch.jit.trace(ours, frames())
    assert "lite_rtse::" not in str(traced.inlined_graph)
    assert_same(traced(frames(7)).detach(), plain(frames(7)).detach())
    with pytest.raises(RuntimeError, match=r"can't be compiled by torch\.jit\.script"):
        torch.jit.script(ours)


def test_compiled_vectorized_and_by_torch_func() -> None:
    ours, plain = both(*SIZES, 1)
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    assert_same(compiled(frames()).detach(), ours(frames()).detach())
    many = frames().unsqueeze(1)
    results = []
    for module in (ours, plain):
        by_x = torch.func.grad(lambda x, module=module: module(x).sin().sum())
        results.append([torch.func.vmap(module)(many), torch.func.vmap(by_x)(many)])
    assert_all_agree(*results, 1e-5, [str(i) for i in range(len(results[0]))])


def test_fuse_finds_those_with_one_tap_and_many_weights() -> None:
    model = nn.Sequential(nn.Conv1d(*SIZES, 1), nn.ReLU(), nn.Conv1d(SIZES[1], 64, 3), nn.Conv1d(64, 8, 1))
    plain = copy.deepcopy(model)
    report = fuse(model)
    assert [finding.path for finding in report.fused] == ["0"]
    assert not report.left
    results = []
    for each, dtype in ((model, torch.float32), (plain.double(), torch.float64)):
        y = each(frames().to(dtype))
        results.append([y, *torch.autograd.grad(y.square().sum(), list(each.parameters()))])
    assert_all_agree(*results, 1e-5, [str(i) for i in range(len(results[0]))])
    assert unfuse(model) == ["0"]
    assert type(model[0]) is nn.Conv1d
