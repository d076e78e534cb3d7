"""The CUDA kernels of multi_order_conv, run by the emulator, against the reference in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lite_rtse_ext import reference

from ..compare import agreement
from . import harness

pytestmark = harness.needs("multi_order_conv")

# (batch, in channels, channels, out channels, order, kernel size, frames, bins)
SHAPES = [(1, 5, 8, 1, 3, 7, 1, 5), (2, 5, 16, 1, 3, 7, 9, 21), (1, 3, 8, 2, 2, 3, 6, 12), (1, 2, 16, 1, 5, 5, 7, 9)]


def operands(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    batch, in_channels, channels, out_channels, order, taps, frames, bins = shape
    torch.manual_seed(sum(shape))
    block = reference.MultiOrderConv(channels, order, in_channels, out_channels, taps).to(dtype)
    weights, biases = ([tensor.detach() for tensor in tensors] for tensors in block.operands())
    return torch.randn(batch, in_channels, frames, bins).to(dtype), weights, biases


def check(actual: Tensor, expected: Tensor, limit: float, what: str) -> None:
    found = agreement(actual, expected)
    assert found.within(limit), f"{what}: {found}"


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-13), (torch.float32, 2e-6)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward(shape: tuple[int, ...], dtype: torch.dtype, limit: float) -> None:
    x, weights, biases = operands(shape, dtype)
    expected = reference.multi_order_conv(x.double(), [w.double() for w in weights], [b.double() for b in biases])
    check(harness.run("multi_order_conv", x, weights, biases), expected, limit, "y")


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backward(shape: tuple[int, ...], dtype: torch.dtype, limit: float) -> None:
    x, weights, biases = operands(shape, dtype)
    leaves = [tensor.double().requires_grad_() for tensor in (x, *weights, *biases)]
    count = len(weights)
    y = reference.multi_order_conv(leaves[0], leaves[1 : 1 + count], leaves[1 + count :])
    dy = torch.randn(y.shape).to(dtype)
    expected = torch.autograd.grad(y, leaves, dy.double())
    dx, dweights, dbiases = harness.run("multi_order_conv_backward", dy, x, weights, biases)
    for i, (a, e) in enumerate(zip((dx, *dweights, *dbiases), expected, strict=True)):
        check(a, e, limit, f"gradient {i}")
