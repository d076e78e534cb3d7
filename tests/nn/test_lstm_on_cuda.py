"""``nn.LSTM`` of this package on CUDA: which of cuDNN and the operator computes. No GPU is needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch._subclasses import FakeTensorMode

from lite_rtse_ext.nn import lstm as module_file
from lite_rtse_ext.nn.lstm import CHOICE, LSTM, PERSISTENT, _runs
from lite_rtse_ext.ops._lstm import autocast_type
from lite_rtse_ext.utils.fallback import FallbackWarning, _warn

from ..compare import assert_all_agree
from .test_lstm import both, flat, random

on_no_gpu = pytest.mark.filterwarnings("ignore:PyTorch was compiled without cuDNN:UserWarning")
FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture
def large_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.dtype]]:
    """A GPU with room for 100 units that need not exist, and the types for which it was asked."""
    asked: list[torch.dtype] = []

    def fits(dtype: torch.dtype, units: int, device: int) -> bool:
        asked.append(dtype)
        return units <= 100

    monkeypatch.setattr(module_file, "lstm_fits", fits)
    _warn.cache_clear()
    monkeypatch.setenv(CHOICE, PERSISTENT)
    monkeypatch.setattr(LSTM, "reset_parameters", lambda self: None)  # random numbers need a GPU
    enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with FakeTensorMode():
        yield asked
    torch.set_autocast_enabled("cuda", enabled)
    torch.set_autocast_dtype("cuda", dtype)


def autocast_on_cuda(dtype: torch.dtype) -> None:
    """What ``torch.autocast`` switches on. It wants to see a GPU itself."""
    torch.set_autocast_dtype("cuda", dtype)
    torch.set_autocast_enabled("cuda", True)


def on_cuda(units: int, dtype: torch.dtype = torch.float32) -> LSTM:
    return LSTM(3, units, batch_first=True, device="cuda:0", dtype=dtype)


def runs_on_cuda(parameters: torch.dtype, x: torch.dtype, state: torch.dtype | None = None) -> bool:
    module = on_cuda(4, parameters)
    hx = None if state is None else [torch.empty(1, 2, 4, device="cuda:0", dtype=state)] * 2
    return _runs(module, torch.empty(2, 5, 3, device="cuda:0", dtype=x), hx)


@on_no_gpu
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_on_cuda_the_operator_is_for_half_types_too(dtype: torch.dtype, large_gpu: list[torch.dtype]) -> None:
    assert runs_on_cuda(dtype, dtype, dtype)
    assert large_gpu == [dtype]
    others = [t for t in FLOATS if t != dtype]
    assert not any(runs_on_cuda(dtype, other) or runs_on_cuda(dtype, dtype, other) for other in others)


@on_no_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_on_cuda_takes_any_of_the_types(dtype: torch.dtype, large_gpu: list[torch.dtype]) -> None:
    autocast_on_cuda(dtype)
    assert all(runs_on_cuda(torch.float32, x, state) for x in FLOATS for state in (None, *FLOATS))
    assert set(large_gpu) == {dtype}
    with pytest.warns(FallbackWarning, match="takes float32, float16 or bfloat16, not torch.float64"):
        assert not runs_on_cuda(torch.float64, torch.float64)
    assert not runs_on_cuda(torch.float64, torch.float32)


@on_no_gpu
def test_what_does_not_fit_in_autocasts_type_is_cudnns_in_words(large_gpu: list[torch.dtype]) -> None:
    autocast_on_cuda(torch.bfloat16)
    with pytest.warns(FallbackWarning, match="with 101 units of torch.bfloat16 does not fit on cuda:0"):
        assert not _runs(on_cuda(101), torch.empty(2, 5, 3, device="cuda:0"), None)
    assert large_gpu == [torch.bfloat16]


def test_autocast_computes_in_its_type_on_cuda_alone() -> None:
    autocast_types = [autocast_type(device) for device in ("cuda", "cpu")]
    assert autocast_types == [torch.get_autocast_dtype("cuda"), torch.float32]


def test_autocast_in_float16_computes_in_float32_on_the_cpu() -> None:
    """PyTorch's LSTM raises an error there, since oneDNN has none in float16."""
    ours, plain = both(5, 9)
    (x, results) = random(3, 7, 5), []
    for module, enabled in ((ours, True), (plain, False)):
        with torch.autocast("cpu", torch.float16, enabled=enabled):
            found = flat(module(x))
        results.append([*found, *torch.autograd.grad(found[0].sum(), list(module.parameters()))])
    assert_all_agree(*results, 1e-5, [str(i) for i in range(7)])
