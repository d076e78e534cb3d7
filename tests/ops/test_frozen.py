"""Gradients of some inputs only: they have the bits that they have beside the others, and no others are computed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from lite_rtse_ext import ops

from ..compare import assert_agrees, assert_all_same, assert_same
from .operators import HALF_TYPES, NORM_PRELU, OPERATORS, Operator, Recorder, Tensors, cotangent, gradients
from .test_autograd import EXACT, tiny_leaves

WITH_FLAGS = [*OPERATORS, NORM_PRELU]
with_flags = pytest.mark.parametrize("operator", WITH_FLAGS, ids=str)
FLAGS = [(True, True), (True, False), (False, True), (False, False)]


def groups(tensors: Tensors) -> tuple[list[str], list[str]]:
    """The names of the input and of the others, whose gradients an operator computes together."""
    first, *others = tensors
    return [first], others


def subsets(tensors: Tensors) -> Iterator[list[str]]:
    """Every subset of few tensors. Of many, each tensor alone, all without it, and either group."""
    names = list(tensors)
    if len(names) <= 5:
        for size in range(1, len(names)):
            yield from (list(some) for some in itertools.combinations(names, size))
        return
    yield from ([name] for name in names)
    yield from ([n for n in names if n != name] for name in names)
    yield from groups(tensors)


def some_gradients(operator: Operator, tensors: Tensors, wanted: Sequence[str]) -> dict[str, Tensor | None]:
    leaves = {n: t.detach().clone().requires_grad_(n in wanted) for n, t in tensors.items()}
    y = operator(leaves)
    y.backward(cotangent(y))
    return {name: leaf.grad for name, leaf in leaves.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF_TYPES], ids=str)
@with_flags
def test_every_subset_of_the_inputs(operator: Operator, dtype: torch.dtype, device: torch.device) -> None:
    tensors = operator.inputs(operator.usual, dtype=dtype, device=device)
    _, expected = gradients(operator, tensors)
    for wanted in subsets(tensors):
        found = some_gradients(operator, tensors, wanted)
        assert [name for name, grad in found.items() if grad is not None] == wanted
        for name in wanted:
            assert_same(found[name], expected[name], f"gradient of {name}, of {wanted}")


@pytest.mark.parametrize("given", [True, False])
def test_every_subset_with_given_statistics(given: bool, device: torch.device) -> None:
    tensors = NORM_PRELU.inputs(NORM_PRELU.usual, device=device)
    channels = NORM_PRELU.usual.channels
    statistics = (torch.full((channels,), 0.25), torch.full((channels,), 1.5)) if given else (None, None)

    def found(wanted: Sequence[str]) -> list[Tensor | None]:
        leaves = {n: t.clone().requires_grad_(n in wanted) for n, t in tensors.items()}
        y, _ = ops.norm_prelu(*leaves.values(), *statistics)
        y.backward(cotangent(y))
        return [leaf.grad for leaf in leaves.values()]

    expected = dict(zip(tensors, found(list(tensors)), strict=True))
    for wanted in subsets(tensors):
        some = dict(zip(tensors, found(wanted), strict=True))
        assert [name for name, grad in some.items() if grad is not None] == wanted
        assert_all_same([some[name] for name in wanted], [expected[name] for name in wanted], wanted)


def backward_arguments(operator: Operator, tensors: Tensors) -> list[Any]:
    """Of a call of the backward operator, up to its flags."""
    y = operator(tensors)
    dy = cotangent(y)
    given = operator.arguments(tensors)
    if operator is NORM_PRELU:
        _, statistics = torch.ops.lite_rtse.norm_prelu(*given, None, None, 1e-5)
        return [dy, *given, statistics, True, 1e-5]
    if operator.name == "causal_dwconv2d":
        return [dy, *given[:2], 1]
    return [dy, *given]


def backward_of(operator: Operator) -> Any:
    return getattr(torch.ops.lite_rtse, f"{operator.name}_backward").default


def flat_sizes(found: Any) -> list[tuple[int, ...]]:
    return [tuple(t.shape) for t in found]


@pytest.mark.parametrize("where", ["cpu", "meta"])
@with_flags
def test_what_nobody_asked_for_is_not_allocated(operator: Operator, where: str) -> None:
    tensors = operator.inputs(operator.tiny)
    arguments = [
        [t.to(where) for t in value]
        if isinstance(value, list)
        else value.to(where)
        if isinstance(value, Tensor)
        else value
        for value in backward_arguments(operator, tensors)
    ]
    whole = [tuple(t.shape) for t in tensors.values()]
    for input, others in FLAGS:
        found = flat_sizes(backward_of(operator)(*arguments, input, others))
        assert found == [whole[0] if input else (0,), *(size if others else (0,) for size in whole[1:])]


@with_flags
def test_training_asks_for_what_it_needs(operator: Operator) -> None:
    tensors = operator.inputs(operator.tiny)
    for wanted, flags in zip(groups(tensors), FLAGS[1:3], strict=True):
        y = operator({n: t.detach().requires_grad_(n in wanted) for n, t in tensors.items()})
        with Recorder() as recorder:
            y.sum().backward()
        (args,) = [args for function, args in recorder.calls if function is backward_of(operator)]
        assert args[-2:] == flags


@pytest.mark.filterwarnings("ignore:.*Initializing zero-element tensors")
@with_flags
def test_opcheck(operator: Operator) -> None:
    for flags in FLAGS[:3]:
        tensors = {n: t.requires_grad_() for n, t in operator.inputs(operator.tiny).items()}
        arguments = backward_arguments(operator, tensors)
        opcheck(backward_of(operator), (*(a.detach() if isinstance(a, Tensor) else a for a in arguments), *flags))
        opcheck(backward_of(operator), (*arguments, *flags))


@with_flags
def test_derivatives_of_either_group(operator: Operator, device: torch.device) -> None:
    """First and second derivatives by finite differences, of the input alone and of the others alone."""
    leaves = tiny_leaves(operator, device)
    for wanted in groups(leaves):
        values = [t.detach().requires_grad_(n in wanted) for n, t in leaves.items()]
        assert torch.autograd.gradcheck(operator.flat(leaves), values, **EXACT)
        assert torch.autograd.gradgradcheck(operator.flat(leaves), values, fast_mode=True, **EXACT)


@with_flags
def test_second_derivatives_by_what_was_not_asked_for(operator: Operator, device: torch.device) -> None:
    """A penalty on the gradients of either group has a gradient by all inputs."""
    tensors = operator.inputs(replace(operator.usual, frames=9), dtype=torch.float64, device=device)
    for wanted in groups(tensors):
        results = []
        for call in (operator, operator.reference):
            leaves = {n: t.detach().requires_grad_() for n, t in tensors.items()}
            y = call(leaves)
            first = torch.autograd.grad(y, [leaves[n] for n in wanted], cotangent(y), create_graph=True)
            penalty = torch.stack([g.square().sum() for g in first]).sum()
            second = torch.autograd.grad(penalty, [*leaves.values()], allow_unused=True, materialize_grads=True)
            results.append(second)
        for name, found, exact in zip(tensors, *results, strict=True):
            if exact.abs().max() < 1e-12:  # the formula's rounding errors: the true value is zero
                assert found.abs().max() < 1e-12
            else:
                assert_agrees(found, exact, 1e-10, name)


@with_flags
def test_vmap_of_a_part_of_the_gradients(operator: Operator) -> None:
    samples = [operator.inputs(operator.tiny, seed=seed) for seed in range(3)]
    calls = [backward_arguments(operator, sample) for sample in samples]
    parameters = calls[0]
    first = [call[0] for call in calls]
    for flags in FLAGS[:3]:

        def call(dy: Tensor, flags: tuple[bool, bool] = flags) -> Any:
            return backward_of(operator)(dy, *parameters[1:], *flags)

        found = torch.func.vmap(call)(torch.stack(first))
        expected = [call(dy) for dy in first]
        for i, each in enumerate(found):
            assert_agrees(each, torch.stack([one[i] for one in expected]), 1e-6)
