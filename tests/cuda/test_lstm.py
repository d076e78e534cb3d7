"""The operator ``lstm`` on a GPU: values, gradients, repeatability, CUDA graphs, and the switch of the module."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lite_rtse_ext.nn import LSTM
from lite_rtse_ext.nn import lstm as module
from lite_rtse_ext.utils import fallback

from ..compare import assert_all_agree, assert_all_same
from ..ops.test_lstm import Arguments, arguments, exact, flat
from ..ops.test_lstm import run as run_operator
from ..ops.test_lstm_gradients import INPUTS, outputs, upstream
from ..ops.test_lstm_gradients import exact as exact_gradients

pytestmark = pytest.mark.cuda

SIZES = ((1, 1, 1), (5, 9, 20), (16, 40, 257), (9, 7, 400))  # batch, frames, units
NAMES = ("y", "h", "c")
FORWARD, BACKWARD = 5e-6, 2e-5  # relative L2, from float64
HALF_FORWARD = {torch.float16: 2e-3, torch.bfloat16: 2e-2}


def on(gpu: torch.device, given: Arguments) -> Arguments:
    state = given["state"] and tuple(t.to(gpu) for t in given["state"])
    return {k: v.to(gpu) if isinstance(v, Tensor) else v for k, v in given.items()} | {"state": state}


def gradients(given: Arguments, grads: dict[str, Tensor]) -> list[Tensor]:
    leaves = {name: t.detach().requires_grad_() for name, t in flat(given).items()}
    return list(torch.autograd.grad(outputs(leaves), list(leaves.values()), list(grads.values())))


@pytest.mark.parametrize(("batch", "frames", "units"), SIZES)
def test_values_and_gradients(batch: int, frames: int, units: int, gpu: torch.device) -> None:
    given = arguments(batch, frames, 11, units)
    grads = upstream(given)
    assert_all_agree([t.cpu() for t in run_operator(on(gpu, given))], exact(given), FORWARD, NAMES)
    found = gradients(on(gpu, given), {n: g.to(gpu) for n, g in grads.items()})
    wanted = exact_gradients(given, grads)
    assert_all_agree([t.cpu() for t in found], [wanted[n] for n in INPUTS], BACKWARD, INPUTS)


@pytest.mark.parametrize("dtype", HALF_FORWARD, ids=str)
def test_autocast_runs_it_in_its_type(dtype: torch.dtype, gpu: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are near those of cuDNN, which has the same type."""
    network, x = LSTM(5, 70, batch_first=True).to(gpu), torch.randn(3, 50, 5, device=gpu)
    found = []
    for choice in (module.PERSISTENT, ""):
        monkeypatch.setenv(module.CHOICE, choice)
        with torch.autocast("cuda", dtype):
            y = network(x)[0]
        assert y.dtype == dtype
        found.append([y.detach(), *torch.autograd.grad(y.float().square().sum(), [*network.parameters()])])
    bounds = [2 * HALF_FORWARD[dtype]] + [8 * HALF_FORWARD[dtype]] * 4
    for name, ours, theirs, bound in zip("yabcd", *found, bounds, strict=True):
        assert_all_agree([ours], [theirs.double()], bound, [name])


def test_the_same_bits_every_time(gpu: torch.device) -> None:
    given = on(gpu, arguments(16, 100, 11, 257))
    first = run_operator(given)
    for _ in range(20):
        assert_all_same(run_operator(given), first, NAMES)


def test_a_graph_repeats_it(gpu: torch.device) -> None:
    given = on(gpu, arguments(16, 50, 11, 257))
    expected = run_operator(given)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        found: Sequence[Tensor] = run_operator(given)
    for _ in range(3):
        for t in found:
            t.fill_(float("nan"))
        graph.replay()
        assert_all_same(found, expected, NAMES)


def test_the_module_runs_it_if_asked(gpu: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = (
        LSTM(5, 7, num_layers=2, bidirectional=True, batch_first=True).to(gpu),
        torch.randn(3, 9, 5, device=gpu),
    )
    expected = network(x)[0].detach()
    calls: list[object] = []
    real = module._fused
    monkeypatch.setattr(module, "_fused", lambda *a: calls.append(a) or real(*a))
    network(x)
    assert not calls
    monkeypatch.setenv(module.CHOICE, module.PERSISTENT)
    assert_all_agree([network(x)[0].detach()], [expected], FORWARD, ["y"])
    assert len(calls) == 1


def test_what_does_not_fit_is_computed_by_cudnn_in_words(gpu: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.CHOICE, module.PERSISTENT)
    fallback._warn.cache_clear()
    with pytest.warns(fallback.FallbackWarning, match="with 3000 units of torch.float32 does not fit on cuda:0"):
        LSTM(2, 3000).to(gpu)(torch.ones(2, 1, 2, device=gpu))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LSTM(2, 30).to(gpu)(torch.ones(2, 1, 2, device=gpu))
