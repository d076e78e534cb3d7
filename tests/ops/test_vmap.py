"""``torch.vmap`` over signals and over weights, in any dimension."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from ..compare import assert_agrees, assert_all_agree
from .operators import MASK_RESIDUAL, Operator, Shape, cotangent

SAMPLES = 3
TOLERANCE = 1e-6  # against the same calls one by one: another blocking may add in another order, no more


def stacked(operator: Operator, device: torch.device, shape: Shape | None = None) -> list[dict[str, Tensor]]:
    """A few sets of inputs, which differ in every tensor."""
    return [operator.inputs(shape or operator.tiny, device=device, seed=seed) for seed in range(SAMPLES)]


def check_vmap(operator: Operator, samples: list[dict[str, Tensor]], in_dims: dict[str, int], out_dim: int = 0) -> None:
    """vmap over the arguments in ``in_dims`` gives what a loop gives; the others are those of the first sample."""
    names = list(samples[0])
    mapped = [
        torch.stack([sample[name] for sample in samples], in_dims[name]) if name in in_dims else samples[0][name]
        for name in names
    ]
    one_by_one = [operator({name: (s if name in in_dims else samples[0])[name] for name in names}) for s in samples]
    dims = tuple(in_dims.get(name) for name in names)
    found = vmap(operator.flat(samples[0]), in_dims=dims, out_dims=out_dim)(*mapped)
    assert_agrees(found, torch.stack(one_by_one, out_dim), TOLERANCE)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_over_signals(operator: Operator, dim: int, device: torch.device) -> None:
    check_vmap(operator, stacked(operator, device), dict.fromkeys(operator.signals, dim), out_dim=dim)


def test_over_complex_spectrograms(device: torch.device) -> None:
    operator = MASK_RESIDUAL
    samples = stacked(operator, device, Shape(batch=2, frames=3, bins=2, is_complex=True))
    check_vmap(operator, samples, dict.fromkeys(operator.signals, 0))
    check_vmap(operator, samples, {"spectrogram": 1})


def test_over_each_argument_alone(operator: Operator, device: torch.device) -> None:
    samples = stacked(operator, device)
    for name in samples[0]:
        check_vmap(operator, samples, {name: 0})


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_over_no_signals(operator: Operator, dim: int, device: torch.device) -> None:
    """The result has the sizes of a sample's, and gradients of parameters are zeros."""
    tensors = operator.inputs(operator.tiny, device=device)
    dims = tuple(dim if name in operator.signals else None for name in tensors)
    given = [
        t.unsqueeze(dim).narrow(dim, 0, 0) if d is not None else t for t, d in zip(tensors.values(), dims, strict=True)
    ]
    leaves = [t.requires_grad_() for t in given]
    found = vmap(operator.flat(tensors), in_dims=dims)(*leaves)
    assert found.shape == (0, *operator(tensors).shape)
    gradients = torch.autograd.grad(found.sum(), leaves)
    assert [g.shape for g in gradients] == [t.shape for t in leaves]
    assert not any(g.count_nonzero() for g in gradients)


@pytest.mark.parametrize("dim", [0, -1])
def test_over_weights_and_signals(operator: Operator, dim: int, device: torch.device) -> None:
    """A model ensemble: every sample has its own weights."""
    samples = stacked(operator, device)
    check_vmap(operator, samples, dict.fromkeys(samples[0], dim))


def test_over_weights_alone(convolution: Operator, device: torch.device) -> None:
    samples = stacked(convolution, device)
    check_vmap(convolution, samples, {name: 0 for name in samples[0] if name not in convolution.signals})


def test_nested(operator: Operator, device: torch.device) -> None:
    signals = list(operator.signals)
    samples = stacked(operator, device)
    rest = {name: tensor for name, tensor in samples[0].items() if name not in signals}

    def call(*values: Tensor) -> Tensor:
        return operator(dict(zip(signals, values, strict=True)) | rest)

    columns = [torch.stack([sample[name] for sample in samples]) for name in signals]
    nested = [torch.stack([column, -column]) for column in columns]
    expected = torch.stack([vmap(call)(*columns), vmap(call)(*[-column for column in columns])])
    assert_agrees(vmap(vmap(call))(*nested), expected, TOLERANCE)


def test_batched_gradients(operator: Operator, device: torch.device) -> None:
    """vmap over the backward pass: several output gradients at a time, as for a Jacobian."""
    tensors = operator.inputs(operator.tiny, device=device)
    leaves = [tensor.requires_grad_() for tensor in tensors.values()]
    y = operator(tensors)
    several = torch.stack([cotangent(y), -cotangent(y), torch.ones_like(y)])
    found = vmap(lambda dy: torch.autograd.grad(y, leaves, dy, retain_graph=True))(several)
    by_autograd = torch.autograd.grad(y, leaves, several, retain_graph=True, is_grads_batched=True)
    singly = [torch.autograd.grad(y, leaves, each, retain_graph=True) for each in several]
    expected = [torch.stack(g) for g in zip(*singly, strict=True)]
    for gradients in (found, by_autograd):
        assert_all_agree(gradients, expected, TOLERANCE, list(tensors))
