"""Results and gradients against the float64 reference: every dtype, every special case of the kernels, odd shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ..compare import agreement, assert_same
from .operators import (
    CAUSAL_DWCONV2D,
    HALF_TYPES,
    Operator,
    Shape,
    cases,
    check_against_reference,
    check_no_worse_than_eager,
    double,
    gradients,
)


def narrowed(shape: Shape) -> Shape:
    """Fewer bins where eager mode would take seconds: its half types run at a hundredth of the speed of float32."""
    large = shape.batch * shape.frames * shape.bins * shape.channels > 50_000
    return replace(shape, bins=min(shape.bins, 21)) if large else shape


@pytest.mark.parametrize(("operator", "shape"), cases())
def test_float32(operator: Operator, shape: Shape, device: torch.device) -> None:
    check_against_reference(operator, shape, torch.float32, device)


@pytest.mark.parametrize(("operator", "shape"), cases())
def test_float64(operator: Operator, shape: Shape, device: torch.device) -> None:
    check_against_reference(operator, narrowed(shape), torch.float64, device)


@pytest.mark.parametrize("dtype", HALF_TYPES, ids=str)
@pytest.mark.parametrize(("operator", "shape"), [case for case in cases() if not case.values[1].is_complex])
def test_half_types(operator: Operator, shape: Shape, dtype: torch.dtype, device: torch.device) -> None:
    """No worse than eager; PyTorch has no complex bfloat16, and hardly any arithmetic on complex halves."""
    check_no_worse_than_eager(operator, narrowed(shape), dtype, device)


def test_long_sums(convolution: Operator, device: torch.device) -> None:
    """Parameter gradients add up all frames and bins: with terms of one sign, a running sum of these 49,500 in float32
    errs by several 1e-6, and ten times as many would break the tolerance. Sums in parts keep well below.
    """
    shape = replace(convolution.usual, batch=1, frames=1500, bins=33, channels=4, in_channels=4, order=2)
    tensors = {name: tensor.abs() for name, tensor in convolution.inputs(shape, device=device).items()}
    dy = torch.ones(convolution.result_size(shape), device=device)
    _, found = gradients(convolution, tensors, dy)
    _, expected = gradients(convolution.reference, double(tensors), dy)
    for name, gradient in found.items():
        error = agreement(gradient, expected[name]).relative_l2
        assert error <= 1e-6, f"gradient of {name}: {error}"


@pytest.mark.parametrize("dtype", HALF_TYPES, ids=str)
@pytest.mark.parametrize("weight", [1.0, 1.0078125, -0.7001953125, 3.0, 2.0**-9])
def test_half_rounding(weight: float, dtype: torch.dtype, device: torch.device) -> None:
    """Every half number there is, times a weight: read exactly and rounded to nearest, ties to even, as PyTorch does.

    A product of two halves is exact in float32, so only reading and rounding are seen: subnormals, overflow, NaN, ties.
    """
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype).to(device).view(1, 1, 256, 256)
    w = torch.tensor(weight, dtype=dtype, device=device).view(1, 1, 1, 1)
    assert_same(CAUSAL_DWCONV2D.function(x, w), (x.float() * w.float()).to(dtype))
