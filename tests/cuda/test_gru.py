"""The operator ``gru`` on a GPU: values, gradients, repeatability, CUDA graphs, and the switch of the module."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lite_rtse_ext.nn import GRU
from lite_rtse_ext.nn import gru as module
from lite_rtse_ext.utils import fallback

from ..compare import assert_all_agree, assert_all_same
from ..ops.test_gru import Named, arguments, by_pytorch
from ..ops.test_gru import run as run_operator

pytestmark = pytest.mark.cuda

SIZES = ((1, 1, 1, 1), (66, 125, 8, 8), (9, 20, 5, 30), (40, 33, 16, 64), (16, 40, 20, 256))
FORWARD, BACKWARD = 5e-6, 2e-5  # relative L2, from float64


def on(gpu: torch.device, named: Named) -> Named:
    return {name: t.to(gpu) for name, t in named.items()}


def results(call: object, named: Named) -> list[Tensor]:
    """y, h, and the gradients of all arguments."""
    leaves = {name: t.detach().requires_grad_() for name, t in named.items()}
    y, h = call(leaves)  # type: ignore[operator]
    weight = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).to(y).view(y.shape)
    return [y, h, *torch.autograd.grad((y * weight).sum() + h.square().sum(), list(leaves.values()))]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_values_and_gradients(size: tuple[int, int, int, int], gpu: torch.device) -> None:
    named = arguments(*size)
    found = [t.cpu() for t in results(run_operator, on(gpu, named))]
    exact = results(by_pytorch, {name: t.double() for name, t in named.items()})
    assert_all_agree(found[:2], exact[:2], FORWARD, ("y", "h"))
    assert_all_agree(found[2:], exact[2:], BACKWARD, [*named])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_same_bits_every_time(size: tuple[int, int, int, int], gpu: torch.device) -> None:
    named = on(gpu, arguments(*size))
    first = run_operator(named)
    for _ in range(20):
        assert_all_same(run_operator(named), first, ("y", "h"))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_graph_repeats_it(size: tuple[int, int, int, int], gpu: torch.device) -> None:
    named = on(gpu, arguments(*size))
    expected = run_operator(named)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        found: Sequence[Tensor] = run_operator(named)
    for _ in range(3):
        for t in found:
            t.fill_(float("nan"))
        graph.replay()
        assert_all_same(found, expected, ("y", "h"))


def test_the_module_runs_it_if_chosen(gpu: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = GRU(5, 7, num_layers=2, bidirectional=True).to(gpu), torch.randn(9, 3, 5, device=gpu)
    calls: list[object] = []
    real = module._fused
    monkeypatch.setattr(module, "_fused", lambda *a: calls.append(a) or real(*a))
    expected = network(x)[0].detach()
    assert not calls
    monkeypatch.setenv(module.CHOICE, module.FUSED)
    assert_all_agree([network(x)[0].detach()], [expected], FORWARD, ["y"])
    assert len(calls) == 1


def test_what_does_not_fit_is_computed_by_cudnn_in_words(gpu: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.CHOICE, module.FUSED)
    fallback._warn.cache_clear()
    with pytest.warns(fallback.FallbackWarning, match="with 3000 units does not fit on cuda:0"):
        GRU(2, 3000).to(gpu)(torch.ones(2, 1, 2, device=gpu))
