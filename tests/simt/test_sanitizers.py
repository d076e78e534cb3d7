"""Every operator, forward and backward, under AddressSanitizer with UndefinedBehaviorSanitizer, and ThreadSanitizer.

The shapes are small and reach every kernel. Those of the kernels' own tests are larger and more.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from ..compare import agreement
from ..ops.operators import (
    CAUSAL_DWCONV2D,
    CONV_BLOCK,
    MASK_RESIDUAL,
    MULTI_ORDER_CONV,
    Operator,
    Shape,
    check_against_reference,
    cotangent,
    double,
    gradients,
)
from . import harness


class InOrder(type(MASK_RESIDUAL)):  # type: ignore[misc]
    """mask_residual of a spectrogram whose bins lie side by side in memory, as torch.stft gives it."""

    def inputs(self, *arguments: Any, **options: Any) -> Mapping[str, Tensor]:
        tensors = super().inputs(*arguments, **options)
        return tensors | {"spectrogram": tensors["spectrogram"].transpose(1, 2).contiguous().transpose(1, 2)}

    def __str__(self) -> str:
        return f"{self.name}-in-order"


CASES = (
    (CAUSAL_DWCONV2D, Shape(batch=2, frames=21, bins=19, channels=2, kernel=(7, 7))),
    (CAUSAL_DWCONV2D, Shape(batch=1, frames=9, bins=33, channels=2, kernel=(3, 3))),
    (CAUSAL_DWCONV2D, Shape(batch=1, frames=6, bins=9, channels=2, kernel=(5, 3), bias=False)),
    (CONV_BLOCK, Shape(batch=2, frames=9, bins=19, channels=5, in_channels=3)),
    (CONV_BLOCK, Shape(batch=1, frames=6, bins=35, channels=8, in_channels=1)),
    (MULTI_ORDER_CONV, Shape(batch=2, frames=9, bins=19, channels=8, in_channels=3, order=3, kernel=(7, 7))),
    (MULTI_ORDER_CONV, Shape(batch=1, frames=5, bins=9, channels=8, out_channels=2, order=2, kernel=(3, 3))),
    (MULTI_ORDER_CONV, Shape(batch=1, frames=7, bins=9, channels=4, in_channels=2, order=3, kernel=(5, 5))),
    (MASK_RESIDUAL, Shape(batch=2, frames=18, bins=37)),
    (MASK_RESIDUAL, Shape(batch=1, frames=5, bins=19, is_complex=True)),
    (InOrder(), Shape(batch=2, frames=7, bins=19)),
)


HALF_ERROR = 16 * torch.finfo(torch.bfloat16).eps  # for results of many roundings


def check(operator: Operator, shape: Shape, dtype: torch.dtype, **options: Any) -> None:
    """Against the reference. How accurate half types are is for the kernels' own tests to say."""
    emulated = harness.emulated(operator, **options)
    if dtype.itemsize > 2:
        check_against_reference(emulated, shape, dtype, "cpu")
        return
    tensors = operator.inputs(shape, dtype=dtype)
    y, found = gradients(emulated, tensors)
    exact, expected = gradients(operator.reference, double(tensors), cotangent(y))
    for name, actual, wanted in [("result", y, exact), *((n, found[n], expected[n]) for n in found)]:
        error = agreement(actual, wanted).relative_l2
        assert error <= HALF_ERROR, f"{name}: relative L2 error {error}"


def parametrised() -> list[Any]:
    return [pytest.param(o, s, marks=harness.needs(o.name), id=f"{o}-{s}") for o, s in CASES]


def misaligned() -> list[Any]:
    """With each dtype and how far buffers are shifted. There are no complex numbers of bfloat16."""
    shifts = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 3}
    cases = itertools.product(CASES, shifts.items())
    return [
        pytest.param(o, s, dtype, shift, marks=harness.needs(o.name), id=f"{o}-{s}-{dtype}")
        for (o, s), (dtype, shift) in cases
        if not (s.is_complex and dtype is torch.bfloat16)
    ]


@pytest.mark.parametrize(("operator", "shape", "dtype", "shift"), misaligned())
def test_no_access_out_of_bounds(operator: Operator, shape: Shape, dtype: torch.dtype, shift: int) -> None:
    """Nor undefined behaviour, whether buffers are aligned or not."""
    check(operator, shape, dtype, flavour="asan", shift=shift)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("operator", "shape"), parametrised())
def test_no_data_race(operator: Operator, shape: Shape, dtype: torch.dtype) -> None:
    check(operator, shape, dtype, flavour="tsan")
