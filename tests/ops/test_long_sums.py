"""Sums over a million terms of one sign are as good as sums over a few: the rounding errors must not add up.

Terms of one sign are the worst case. A running float32 sum of a million of them errs by 1e-4.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lite_rtse_ext import ops

from .operators import LSTM, double, gradients

TERMS = 2**20
BOUND = 1e-6  # the largest relative error, from float64


def uniform(*size: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> Tensor:
    return torch.empty(size).uniform_(low, high, generator=torch.Generator().manual_seed(seed))


def largest_error(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected) / expected).abs().max().item()


def assert_precise(found: dict[str, Tensor], expected: dict[str, Tensor], bound: float = BOUND) -> None:
    errors = {name: largest_error(gradient, expected[name]) for name, gradient in found.items()}
    assert max(errors.values()) <= bound, errors


@pytest.mark.parametrize("batch", [1, 64])
def test_pointwise_conv(batch: int) -> None:
    x, dy = uniform(batch, 3, TERMS // batch), uniform(batch, 2, TERMS // batch, seed=1)
    weight, bias = torch.ones(2, 3, requires_grad=True), torch.zeros(2, requires_grad=True)
    found = torch.autograd.grad(ops.pointwise_conv(x, weight, bias), [weight, bias], dy)
    exact = {"weight": torch.einsum("bop,bip->oi", dy.double(), x.double()), "bias": dy.double().sum((0, 2))}
    assert_precise(dict(zip(exact, found, strict=True)), exact)


def test_lstm() -> None:
    """Sequences of one frame, so that each term is precise and the sums alone can err."""
    batch, inputs, units = TERMS // 4, 3, 2
    given = {
        "x": uniform(batch, 1, inputs),
        "weight_ih": uniform(4 * units, inputs, high=0.1, seed=1),
        "weight_hh": uniform(4 * units, units, high=0.1, seed=2),
        "bias_ih": torch.zeros(4 * units),
        "bias_hh": torch.zeros(4 * units),
        "h0": uniform(batch, units, low=0.1, high=0.9, seed=3),
        "c0": uniform(batch, units, low=0.1, high=0.9, seed=4),
    }
    dy = uniform(batch, 3, units, low=0.1, seed=5)
    _, found = gradients(LSTM, given, dy)
    _, expected = gradients(LSTM.reference, double(given), dy)
    parameters = [name for name in given if name.startswith(("weight", "bias"))]
    assert_precise({name: found[name] for name in parameters}, expected)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_causal_dwconv2d(kernel: int) -> None:
    x, dy = torch.zeros(1, 1, TERMS // 256, 256), uniform(1, 1, TERMS // 256, 256, low=0.05, high=0.15)
    weight, bias = torch.ones(1, 1, kernel, kernel), torch.zeros(1, requires_grad=True)
    (found,) = torch.autograd.grad(ops.causal_dwconv2d(x, weight, bias), [bias], dy)
    assert_precise({"bias": found}, {"bias": dy.double().sum((0, 2, 3))}, bound=BOUND / 2)


def test_gru() -> None:
    """The update gate stays at zero, so y is the new gate of its own frame alone, and each term is precise."""
    batch, frames = 4, TERMS // 16
    x, dy = uniform(batch, frames, 1), uniform(batch, frames, 1, low=0.1, seed=1)
    values = [torch.full((3, 1), 0.1), torch.zeros(3, 1), torch.tensor([0.1, -50.0, 0.1]), torch.zeros(3)]

    def gradients_of(call: Callable[..., Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
        leaves = [value.to(dtype).requires_grad_() for value in values]
        found = torch.autograd.grad(call(x.to(dtype), *leaves), leaves, dy.to(dtype))
        return {name: found[i][-1:] for i, name in ((0, "weight_ih"), (2, "bias_ih"), (3, "bias_hh"))}

    def without_update(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        reset, _, new = (x * w_ih[:, 0] + b_ih).split(1, 2)
        r, _, n = (b_hh + 0 * w_hh[:, 0]).split(1)
        return (new + (reset + r).sigmoid() * n).tanh()

    def operator(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        y: Tensor = ops.gru(x, [w_ih, w_hh], [b_ih, b_hh])[0]
        return y

    assert_precise(gradients_of(operator, torch.float32), gradients_of(without_update, torch.float64))
