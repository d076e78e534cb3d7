"""Any strides in, for inputs and for the gradient of the result: the values are those of dense tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ..compare import assert_agrees, assert_all_agree
from .operators import CAUSAL_DWCONV2D, MASK_RESIDUAL, Operator, Shape, cotangent, gradients

TOLERANCE = 4e-6  # another memory order may be summed in another order, no more


def transposed(tensor: Tensor) -> Tensor:
    """The last two dimensions swapped in memory."""
    return tensor.transpose(-1, -2).contiguous().transpose(-1, -2) if tensor.dim() > 1 else tensor


def reversed_order(tensor: Tensor) -> Tensor:
    """All dimensions in reverse order in memory."""
    order = tuple(reversed(range(tensor.dim())))
    return tensor.permute(order).contiguous().permute(order)


def channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def sliced(tensor: Tensor) -> Tensor:
    """Every other element of a larger tensor, from an odd offset; NaN between."""
    larger = tensor.new_full([2 * size + 3 for size in tensor.shape], float("nan"))
    view = larger[tuple(slice(1, 1 + 2 * size, 2) for size in tensor.shape)]
    return view.copy_(tensor)


def narrowed(tensor: Tensor) -> Tensor:
    """Rows of a wider tensor, which start unaligned; NaN beyond each row."""
    wider = tensor.new_full((*tensor.shape[:-1], tensor.shape[-1] + 3), float("nan"))
    return wider[..., 1 : 1 + tensor.shape[-1]].copy_(tensor)


def conjugated(tensor: Tensor) -> Tensor:
    """A lazily conjugated or negated view: the memory holds other values than the tensor does."""
    return torch.conj(tensor.conj_physical()) if tensor.is_complex() else torch._neg_view(-tensor)


LAYOUTS = (transposed, reversed_order, channels_last, sliced, narrowed, conjugated)
Layout = Callable[[Tensor], Tensor]


def test_layouts_keep_values_and_change_memory() -> None:
    """What the tests below rest on."""
    tensor = torch.randn(2, 3, 4, 5)
    for layout in LAYOUTS:
        assert torch.equal(layout(tensor), tensor)
        assert layout(tensor).stride() != tensor.stride() or layout(tensor).is_neg()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_inputs(operator: Operator, layout: Layout, device: torch.device) -> None:
    """Each argument alone in the layout, then all of them."""
    tensors = operator.inputs(operator.usual, device=device)
    y, expected = gradients(operator, tensors)
    for chosen in [*([name] for name in tensors), list(tensors)]:
        laid_out = {name: layout(tensor) if name in chosen else tensor for name, tensor in tensors.items()}
        found_y, found = gradients(operator, laid_out)
        assert_agrees(found_y, y, TOLERANCE, f"result for {chosen}")
        assert_all_agree([*found.values()], [*expected.values()], TOLERANCE, [f"{n} for {chosen}" for n in found])


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_gradient_of_the_result(operator: Operator, layout: Layout, device: torch.device) -> None:
    tensors = operator.inputs(operator.usual, device=device)
    dy = cotangent(operator(tensors))
    _, expected = gradients(operator, tensors, dy)
    _, found = gradients(operator, tensors, layout(dy))
    assert_all_agree([*found.values()], [*expected.values()], TOLERANCE, [*found])


def test_expanded_gradient_of_a_sum(operator: Operator, device: torch.device) -> None:
    """``y.sum().backward()`` hands the operator a single number with strides of zero."""
    tensors = operator.inputs(operator.usual, device=device)
    dy = torch.ones_like(operator(tensors))
    _, expected = gradients(operator, tensors, dy)
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
    total = operator(leaves).sum()
    (total.real if total.is_complex() else total).backward()
    assert_all_agree([leaf.grad for leaf in leaves.values()], [*expected.values()], TOLERANCE, [*leaves])


@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_partly_expanded_gradient(operator: Operator, dim: int, device: torch.device) -> None:
    """A mean over one dimension: stride zero there, ordinary strides elsewhere."""
    shape = replace(operator.usual, out_channels=operator.usual.channels)
    tensors = operator.inputs(shape, device=device)
    y = operator(tensors)
    dim = min(dim, y.dim() - 1)
    dy = cotangent(y).narrow(dim, 0, 1).expand(y.shape)
    assert dy.stride(dim) == 0
    _, expected = gradients(operator, tensors, dy.contiguous())
    _, found = gradients(operator, tensors, dy)
    assert_all_agree([*found.values()], [*expected.values()], TOLERANCE, [*found])


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_expanded_signals(operator: Operator, dim: int, device: torch.device) -> None:
    """One utterance, channel, frame or bin repeated without a copy; its gradient is the sum over the repeats."""
    tensors = operator.inputs(operator.usual, device=device)
    expanded = {n: t.narrow(dim, 0, 1).expand(t.shape) if n in operator.signals else t for n, t in tensors.items()}
    y, found = gradients(operator, expanded)
    exact, expected = gradients(operator, {name: tensor.contiguous() for name, tensor in expanded.items()})
    assert_agrees(y, exact, TOLERANCE)
    assert_all_agree([*found.values()], [*expected.values()], TOLERANCE, [*found])


def test_expanded_weights(convolution: Operator, device: torch.device) -> None:
    """One weight for all channels: every weight and bias is expanded along its first dimension."""
    tensors = convolution.inputs(convolution.usual, device=device)
    shared = {n: t if n in convolution.signals else t[:1].expand(t.shape) for n, t in tensors.items()}
    y, found = gradients(convolution, shared)
    exact, expected = gradients(convolution, {name: tensor.contiguous() for name, tensor in shared.items()})
    assert_agrees(y, exact, TOLERANCE)
    assert_all_agree([*found.values()], [*expected.values()], TOLERANCE, [*found])


def test_results_are_dense(convolution: Operator, device: torch.device) -> None:
    y = convolution(convolution.inputs(convolution.usual, device=device))
    assert y.is_contiguous()
    assert y.untyped_storage().nbytes() == y.numel() * y.element_size()


def test_unaligned_storage(operator: Operator, device: torch.device) -> None:
    """Dense tensors that begin one element into their storage, so that no vector load is aligned."""
    tensors = operator.inputs(operator.usual, device=device)
    shifted = {
        name: torch.cat([tensor.new_zeros(1), tensor.flatten()])[1:].view(tensor.shape)
        for name, tensor in tensors.items()
    }
    y, expected = gradients(operator, tensors)
    found_y, found = gradients(operator, shifted)
    assert_agrees(found_y, y, TOLERANCE)
    assert_all_agree([*found.values()], [*expected.values()], TOLERANCE, [*found])


def odd_strides(tensor: Tensor) -> list[int]:
    return [7 if size == 1 else step for size, step in zip(tensor.shape, tensor.stride(), strict=True)]


@pytest.mark.parametrize("operator", [CAUSAL_DWCONV2D, MASK_RESIDUAL], ids=str)
def test_strides_of_dimensions_of_one(operator: Operator, device: torch.device) -> None:
    """A dimension of size one may have any stride: it is never walked along."""
    tensors = operator.inputs(Shape(batch=1, frames=1, bins=6, channels=1), device=device)
    odd = {name: tensor.as_strided(tensor.shape, odd_strides(tensor)) for name, tensor in tensors.items()}
    y, expected = gradients(operator, tensors)
    found_y, found = gradients(operator, odd)
    assert_agrees(found_y, y, TOLERANCE)
    assert_all_agree([*found.values()], [*expected.values()], TOLERANCE, [*found])
