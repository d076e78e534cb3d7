"""The operator ``lstm`` in half types, which only kernels of a GPU have: on one, or run by tests/cuda/emulated."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lite_rtse_ext.ops import _native

from ..compare import assert_all_agree, assert_all_same
from .operators import HALF_TYPES, LSTM, check_no_worse_than_eager
from .test_lstm import INPUTS, NAMES, Arguments, arguments, exact, flat, run
from .test_lstm_gradients import exact as exact_gradients
from .test_lstm_gradients import gradients, upstream

FORWARD = {torch.float16: 2e-3, torch.bfloat16: 1.5e-2}  # from float64
BACKWARD = {torch.float16: 6e-3, torch.bfloat16: 5e-2}
EMULATED = _native.available() and "CUDA" in _native.isa()
for_each_type = pytest.mark.parametrize("dtype", HALF_TYPES, ids=str)


@pytest.fixture(autouse=True)
def kernels_of_a_gpu(device: torch.device) -> None:
    if device.type == "cpu" and not EMULATED:
        pytest.skip("the kernels of the CPU compute in float32 alone")


def rounded(given: Arguments, dtype: torch.dtype, device: torch.device) -> Arguments:
    def moved(t: Tensor) -> Tensor:
        return t.to(device, dtype)

    return torch.utils._pytree.tree_map_only(Tensor, moved, given)


def on_cpu(tensors: list[Tensor]) -> list[Tensor]:
    return [t.cpu() for t in tensors]


@for_each_type
@pytest.mark.parametrize("frames", [9, 33])
@pytest.mark.parametrize(("batch", "units"), [(3, 20), (5, 37), (2, 65)])
def test_no_worse_than_eager(batch: int, units: int, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """Of few numbers either may have some exact by luck, so there are many."""
    shape = replace(LSTM.usual, batch=batch, frames=frames, bins=11, channels=units)
    check_no_worse_than_eager(LSTM, shape, dtype, device)


@for_each_type
@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize(("batch", "frames", "units"), [(1, 1, 1), (3, 7, 9), (9, 12, 33)])
def test_agrees_with_pytorch_in_float64(
    batch: int, frames: int, units: int, optional: bool, dtype: torch.dtype, device: torch.device
) -> None:
    given = rounded(arguments(batch, frames, 5, units, bias=optional, state=optional), dtype, device)
    by = {name: t.to(device, dtype) for name, t in upstream(given).items()}
    found, at_home = run(given), rounded(given, dtype, torch.device("cpu"))
    assert {t.dtype for t in found} == {dtype}
    assert_all_agree(on_cpu([*found]), exact(at_home), FORWARD[dtype], NAMES)
    by_inputs = gradients(given, by)
    expected = exact_gradients(at_home, {name: t.cpu() for name, t in by.items()})
    assert {t.dtype for t in by_inputs.values()} == {dtype}
    assert_all_agree(on_cpu([*by_inputs.values()]), [*expected.values()], BACKWARD[dtype], [*expected])


@for_each_type
def test_the_same_bits_every_time(dtype: torch.dtype, device: torch.device) -> None:
    given = rounded(arguments(5, 20, 7, 37), dtype, device)
    first = run(given)
    assert_all_same(run(given), first, NAMES)


@for_each_type
def test_all_tensors_must_have_the_type(dtype: torch.dtype, device: torch.device) -> None:
    given = rounded(arguments(), dtype, device)
    for name in INPUTS[1:5]:
        with pytest.raises(RuntimeError, match=rf"{name} has dtype Float, must be that of x, (Half|BFloat16)"):
            run(given | {name: given[name].float()})


def test_float64_is_refused(device: torch.device) -> None:
    with pytest.raises(RuntimeError, match=r"x has dtype Double, must be Float, Half or BFloat16"):
        run(rounded(arguments(), torch.float64, device))


@for_each_type
def test_second_derivatives(dtype: torch.dtype, device: torch.device) -> None:
    """They go through plain PyTorch, so only their types and sizes are this library's own."""
    given = rounded(arguments(2, 3, 4, 5), dtype, device)
    values = {name: t.requires_grad_() for name, t in flat(given).items()}
    state = (values["h0"], values["c0"])
    leaves = list(values.values())
    y = run({name: values[name] for name in INPUTS[:5]} | {"state": state})[0]
    first = torch.autograd.grad(y.float().square().sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(g.float().square().sum() for g in first), leaves)
    assert [(g.shape, g.dtype) for g in second] == [(t.shape, dtype) for t in leaves]
    assert all(g.isfinite().all() for g in second)
