"""Gradients of every order: gradcheck, double backward, third derivatives, and gradients of some inputs only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ..compare import assert_agrees, assert_all_agree, assert_same
from .operators import CAUSAL_DWCONV2D, DilatedDwconv2d, Operator, Shape, Tensors, cotangent, double, gradients

# The defaults would let an error of one in a thousand pass. In float64, finite differences are good to about 1e-8.
EXACT = {"atol": 1e-6, "rtol": 1e-5, "nondet_tol": 0.0}


def tiny_leaves(operator: Operator, device: torch.device, shape: Shape | None = None) -> dict[str, Tensor]:
    """Inputs small enough for finite differences, in double precision, requiring gradients."""
    tensors = operator.inputs(shape or operator.tiny, dtype=torch.float64, device=device)
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def complex_too(operator: Operator) -> list[Shape]:
    """The operator's tiny shape, and its complex twin if it takes complex input."""
    twin = replace(operator.tiny, is_complex=True)
    return [operator.tiny, twin] if "spectrogram" in operator.signals else [operator.tiny]


def test_gradcheck(operator: Operator, device: torch.device) -> None:
    for shape in complex_too(operator):
        leaves = tiny_leaves(operator, device, shape)
        assert torch.autograd.gradcheck(operator.flat(leaves), tuple(leaves.values()), **EXACT)


def test_gradgradcheck(operator: Operator, device: torch.device) -> None:
    for shape in complex_too(operator):
        leaves = tiny_leaves(operator, device, shape)
        assert torch.autograd.gradgradcheck(operator.flat(leaves), tuple(leaves.values()), fast_mode=True, **EXACT)


def test_gradcheck_without_bias(device: torch.device) -> None:
    operator = CAUSAL_DWCONV2D
    leaves = tiny_leaves(operator, device, Shape(batch=2, frames=3, bins=4, channels=2, bias=False))
    assert torch.autograd.gradcheck(operator.flat(leaves), tuple(leaves.values()), **EXACT)
    assert torch.autograd.gradgradcheck(operator.flat(leaves), tuple(leaves.values()), fast_mode=True, **EXACT)


@pytest.mark.parametrize("dilation", [2, 3, 10**12])
def test_dilation_beyond_the_frames(dilation: int, device: torch.device) -> None:
    """The inputs have three frames. The derivatives in plain PyTorch must not pad by a dilation beyond them."""
    operator = DilatedDwconv2d(dilation)
    leaves = tiny_leaves(operator, device)
    function, values = operator.flat(leaves), tuple(leaves.values())
    assert torch.autograd.gradcheck(function, values, check_forward_ad=True, **EXACT)
    assert torch.autograd.gradgradcheck(function, values, fast_mode=True, **EXACT)


def second_order(function: Callable[[Tensors], Tensor], tensors: Tensors) -> list[Tensor]:
    """Gradients of a gradient penalty: a scalar made of every first gradient, differentiated by every input."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
    y = function(leaves)
    first = torch.autograd.grad(y, list(leaves.values()), cotangent(y), create_graph=True)
    penalty = sum((g.abs().square() if g.is_complex() else g.square()).sum() for g in first)
    return list(torch.autograd.grad(penalty, list(leaves.values()), allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_double_backward_agrees_with_the_reference(
    operator: Operator, dtype: torch.dtype, device: torch.device
) -> None:
    shape = replace(operator.usual, frames=9)
    tensors = operator.inputs(shape, dtype=dtype, device=device)
    found = second_order(operator, tensors)
    exact = second_order(operator.reference, double(tensors))
    # Second derivatives with respect to a residual grow with 1/|R|², and their rounding errors with them.
    assert_all_agree(found, exact, 1e-4 if dtype == torch.float32 else 1e-10, list(tensors))


def test_third_derivatives_agree_with_the_reference(operator: Operator, device: torch.device) -> None:
    """Beyond the second order a derivative is right or raises: it is never silently taken for a constant."""
    tensors = operator.inputs(operator.tiny, dtype=torch.float64, device=device)
    name = next(iter(tensors))

    def third(function: Callable[[Tensors], Tensor]) -> Tensor:
        leaves = {n: t.detach().requires_grad_() for n, t in tensors.items()}
        value = function(leaves).sin().sum()
        for order in (1, 2, 3):
            (gradient,) = torch.autograd.grad(value, [leaves[name]], create_graph=order < 3)
            value = gradient.square().sum()
        return gradient

    assert_agrees(third(operator), third(operator.reference), 1e-9)


def test_each_gradient_alone(operator: Operator, device: torch.device) -> None:
    """Where one input alone requires a gradient it is the same as where all do."""
    tensors = operator.inputs(operator.usual, device=device)
    _, expected = gradients(operator, tensors)
    for name in tensors:
        alone = {n: t.detach().requires_grad_(n == name) for n, t in tensors.items()}
        y = operator(alone)
        (found,) = torch.autograd.grad(y, [alone[name]], cotangent(y))
        assert_same(found, expected[name], f"gradient of {name}")


def test_frozen_inputs_get_no_gradient(operator: Operator, device: torch.device) -> None:
    first, *others = tensors = operator.inputs(operator.tiny, device=device)
    operator({n: t.requires_grad_(n == first) for n, t in tensors.items()}).abs().sum().backward()
    assert tensors[first].grad is not None
    assert all(tensors[name].grad is None for name in others)


def test_no_graph_without_gradients(operator: Operator, device: torch.device) -> None:
    """Under ``no_grad`` and ``inference_mode`` the result is the same and remembers nothing."""
    tensors = operator.inputs(operator.tiny, device=device)
    expected = operator(tensors)
    assert not expected.requires_grad
    leaves = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            y = operator(leaves)
            assert not y.requires_grad
            assert_same(y.clone(), expected)


def test_inputs_are_left_alone(operator: Operator, device: torch.device) -> None:
    tensors = operator.inputs(operator.usual, device=device)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    y, _ = gradients(operator, tensors)
    for name, tensor in tensors.items():
        assert_same(tensor, before[name], name)
        assert y.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


def test_backward_sees_that_an_input_was_changed(operator: Operator, device: torch.device) -> None:
    leaves = {name: tensor.requires_grad_() for name, tensor in operator.inputs(operator.tiny, device=device).items()}
    first = next(iter(leaves))
    y = operator(leaves)
    with torch.no_grad():
        leaves[first].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.abs().sum().backward()


def test_gradients_accumulate(operator: Operator, device: torch.device) -> None:
    """Two backward passes add up, as gradient accumulation over micro-batches does."""
    leaves = {name: tensor.requires_grad_() for name, tensor in operator.inputs(operator.tiny, device=device).items()}
    for seed in (1, 2):
        y = operator(leaves)
        y.backward(cotangent(y, seed))
    once = [gradients(operator, leaves, cotangent(y, seed))[1] for seed in (1, 2)]
    for name, leaf in leaves.items():
        assert_agrees(leaf.grad, once[0][name] + once[1][name], 1e-6, name)
