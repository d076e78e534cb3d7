"""Forward-mode derivatives are those of the float64 reference, in every way that PyTorch has to ask for them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vjp, vmap

from lite_rtse_ext import fuse, reference
from lite_rtse_ext.ops import causal_dwconv2d, conv_block

from ..compare import assert_agrees
from .operators import CONV_BLOCK, LSTM, MASK_RESIDUAL, Operator, double

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
Function = Callable[[Tensor], Tensor]


def dual_numbers(f: Function, x: Tensor, v: Tensor) -> Tensor:
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(f(forward_ad.make_dual(x, v))).tangent
        assert tangent is not None
        return tangent


def without_gradients(f: Function, x: Tensor, v: Tensor) -> Tensor:
    with torch.no_grad():
        return jvp(f, (x,), (v,))[1]


def with_a_graph(f: Function, x: Tensor, v: Tensor) -> Tensor:
    return dual_numbers(f, x.detach().requires_grad_(), v)


def double_backward(f: Function, x: Tensor, v: Tensor) -> Tensor:
    return torch.autograd.functional.jvp(f, x, v)[1]


def forward_jacobian(f: Function, x: Tensor, v: Tensor) -> Tensor:
    jacobian = torch.autograd.functional.jacobian(f, x, strategy="forward-mode", vectorize=True)
    return (jacobian * v).sum(tuple(range(-v.dim(), 0)))


def in_vmap(f: Function, x: Tensor, v: Tensor) -> Tensor:
    both = vmap(lambda each: jvp(f, (x,), (each,))[1])(torch.stack([v, 2 * v]))
    assert_agrees(both[1], 2 * both[0], 1e-6)
    return both[0]


def of_vmap(f: Function, x: Tensor, v: Tensor) -> Tensor:
    return jvp(vmap(f), (torch.stack([x, x]),), (torch.stack([v, -v]),))[1][0]


WAYS = {
    "torch.func.jvp": lambda f, x, v: jvp(f, (x,), (v,))[1],
    "jacfwd": lambda f, x, v: (jacfwd(f)(x) * v).sum(tuple(range(-v.dim(), 0))),
    "jacrev": lambda f, x, v: (jacrev(f)(x) * v).sum(tuple(range(-v.dim(), 0))),
    "dual numbers": dual_numbers,
    "dual numbers with a graph": with_a_graph,
    "no_grad": without_gradients,
    "autograd.functional.jvp": double_backward,
    "autograd.functional.jacobian": forward_jacobian,
    "jvp in vmap": in_vmap,
    "jvp of vmap": of_vmap,
}


def by_name(call: Callable[[dict[str, Tensor]], Tensor], tensors: dict[str, Tensor], name: str) -> Function:
    """The operator as a function of one argument."""
    return lambda value: call(tensors | {name: value})


def direction(value: Tensor) -> Tensor:
    return torch.randn(value.shape, dtype=value.dtype, generator=torch.Generator().manual_seed(5))


def compare(operator: Operator, tensors: dict[str, Tensor], way: Callable[..., Any], tolerance: float) -> None:
    """Of the operator, and of the reference in float64, by each argument."""
    exact = double(tensors)
    for name in tensors:
        v = direction(tensors[name])
        found = way(by_name(operator, tensors, name), tensors[name], v)
        expected = way(by_name(operator.reference, exact, name), exact[name], double({"v": v})["v"])
        assert_agrees(found, expected, tolerance, name)


@pytest.mark.parametrize("way", WAYS)
def test_agrees_with_the_reference(any_operator: Operator, way: str) -> None:
    tensors = any_operator.inputs(any_operator.tiny, dtype=any_operator.exact)
    compare(any_operator, tensors, WAYS[way], TOLERANCE[any_operator.exact])


@pytest.mark.parametrize("way", ["torch.func.jvp", "dual numbers", "autograd.functional.jvp"])
def test_of_complex_spectrograms(way: str) -> None:
    tensors = MASK_RESIDUAL.inputs(replace(MASK_RESIDUAL.tiny, is_complex=True), dtype=torch.float64)
    compare(MASK_RESIDUAL, tensors, WAYS[way], 1e-10)


def test_all_arguments_at_once(any_operator: Operator) -> None:
    tensors = any_operator.inputs(any_operator.usual, dtype=any_operator.exact)
    exact = double(tensors)
    found = jvp(any_operator, (tensors,), ({n: direction(t) for n, t in tensors.items()},))
    expected = jvp(any_operator.reference, (exact,), (double({n: direction(t) for n, t in tensors.items()}),))
    for a, e, name in zip(found, expected, ("value", "tangent"), strict=True):
        assert_agrees(a, e, TOLERANCE[any_operator.exact], name)


def value_of(f: Function) -> Function:
    return lambda x: f(x).sin().sum()


def second_by_torch_func(f: Function, x: Tensor, v: Tensor) -> list[Tensor]:
    """Each nesting of forward and reverse mode, two and three deep."""
    scalar = value_of(f)

    def forward(g: Function) -> Function:
        return lambda x: jvp(g, (x,), (v,))[1]

    levels = [forward(forward(f)), forward(grad(scalar)), grad(forward(scalar)), grad(value_of(grad(scalar)))]
    third = [forward(forward(forward(f))), grad(forward(forward(scalar))), forward(forward(grad(scalar)))]
    return [level(x) for level in [*levels, *third]]


def second_by_dual_numbers(f: Function, x: Tensor, v: Tensor) -> list[Tensor]:
    """Dual numbers through a graph: first the gradient's tangent, then the tangent's gradient."""
    leaf = x.detach().requires_grad_()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(leaf, v)
        (first,) = torch.autograd.grad(value_of(f)(dual), dual, create_graph=True)
        over_reverse = forward_ad.unpack_dual(first).tangent
        tangent = forward_ad.unpack_dual(value_of(f)(dual)).tangent
        (over_forward,) = torch.autograd.grad(tangent, leaf)
    return [over_reverse, over_forward]


def second_by_dual_gradients(f: Function, x: Tensor, v: Tensor) -> list[Tensor]:
    """A dual gradient into a graph that was made without: the tangents of first and second derivatives."""
    leaf = x.detach().requires_grad_()
    y = f(leaf)
    dy = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    results = []
    with forward_ad.dual_level():
        for create_graph in (False, True):
            dual = forward_ad.make_dual(dy, dy.cos())
            (first,) = torch.autograd.grad(y, leaf, dual, create_graph=create_graph, retain_graph=True)
            assert create_graph or not first.requires_grad
            results.append(forward_ad.unpack_dual(first).tangent)
        plain = dy.clone().requires_grad_()
        (first,) = torch.autograd.grad(y, leaf, plain, create_graph=True)
        (second,) = torch.autograd.grad(first, plain, forward_ad.make_dual(v, v.cos()))
        results.append(forward_ad.unpack_dual(second).tangent)
    return results


@pytest.mark.parametrize("way", [second_by_torch_func, second_by_dual_numbers, second_by_dual_gradients])
def test_nested_with_reverse_mode(any_operator: Operator, way: Callable[..., list[Tensor]]) -> None:
    tensors = any_operator.inputs(any_operator.tiny, dtype=any_operator.exact)
    compare(any_operator, tensors, lambda *args: torch.cat([t.flatten() for t in way(*args)]), 1e-4)


def test_gradients_of_torch_func(any_operator: Operator) -> None:
    """torch.func.grad and vjp by all arguments, alone and for each sample of a batch."""
    tensors = any_operator.inputs(any_operator.tiny, dtype=any_operator.exact)
    exact = double(tensors)

    def all_of(call: Callable[..., Tensor], values: dict[str, Tensor]) -> dict[str, Tensor]:
        def scalar(values: dict[str, Tensor]) -> Tensor:
            return call(values).sin().sum()

        y, pull = vjp(call, values)
        stacked = {name: torch.stack([value, -value]) for name, value in values.items()}
        several = {"grad": grad(scalar)(values), "vjp": pull(y.cos())[0], "vmap of grad": vmap(grad(scalar))(stacked)}
        several["grad of vmap"] = grad(lambda s: vmap(scalar)(s).sum())(stacked)
        return {f"{way}: {name}": g for way, each in several.items() for name, g in each.items()}

    found, expected = all_of(any_operator, tensors), all_of(any_operator.reference, exact)
    for name, gradient in found.items():
        assert_agrees(gradient, expected[name], TOLERANCE[any_operator.exact], name)


def test_what_has_no_tangent_runs_the_operator(any_operator: Operator) -> None:
    """Within a level of forward mode, and within torch.func, values that do not depend on it keep their bits."""
    tensors = any_operator.inputs(any_operator.usual, dtype=any_operator.exact)
    expected = any_operator(tensors)
    one = torch.ones(())
    with forward_ad.dual_level():
        assert torch.equal(any_operator(tensors), expected)
    for transformed in (lambda f: jvp(f, (one,), (one,))[1], lambda f: grad(lambda a: f(a).real.sum())(one)):
        assert_agrees(transformed(lambda a: a * any_operator(tensors)).sum(), expected.sum(), 1e-5)


def test_gradients_of_parameters_outside_torch_func(any_operator: Operator) -> None:
    """torch.func by one tensor, and the usual backward pass by the operator's own arguments, of the same result."""
    tensors = any_operator.inputs(any_operator.tiny, dtype=any_operator.exact)
    leaves = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    one = torch.ones((), dtype=any_operator.exact)
    inner = grad(lambda a: (a * any_operator(leaves)).sin().sum())(one)
    found = torch.autograd.grad(inner, list(leaves.values()))
    y = any_operator(leaves)
    expected = torch.autograd.grad((y * y.cos()).sum(), list(leaves.values()))
    for a, e, name in zip(found, expected, leaves, strict=True):
        assert_agrees(a, e, TOLERANCE[any_operator.exact], name)


def test_a_gradient_that_torch_func_cannot_follow_is_refused(any_operator: Operator) -> None:
    """Made outside by torch.autograd, differentiated within by torch.func: no lost tangent, an exception."""
    tensors = any_operator.inputs(any_operator.tiny, dtype=any_operator.exact)
    leaves = [tensor.requires_grad_() for tensor in tensors.values()]
    y = any_operator(dict(zip(tensors, leaves, strict=True)))
    with pytest.raises(RuntimeError, match=r"torch\.func cannot differentiate .* torch\.func\.vjp"):
        jvp(lambda dy: torch.autograd.grad(y, leaves, dy)[0], (y.detach(),), (y.detach(),))


def test_wrong_arguments_are_refused_as_ever() -> None:
    """The formula would take an even kernel and give another result."""
    x, weight = torch.randn(1, 2, 4, 5), torch.randn(2, 1, 2, 2)
    with pytest.raises(RuntimeError, match="weight has kernel size 2 x 2, must be odd"):
        jvp(lambda x: causal_dwconv2d(x, weight), (x,), (x,))


def test_under_autocast() -> None:
    x, block = torch.randn(1, 4, 5, 6), reference.ConvBlock(4, 4).requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        value, tangent = jvp(lambda x: conv_block(x, *block.operands()), (x,), (x,))
    assert value.dtype == tangent.dtype == torch.bfloat16
    expected = jvp(lambda x: reference.conv_block(x, *block.operands()), (x,), (x,))[1]
    assert float((tangent - expected).norm() / expected.norm()) < 0.02


def within_a_dual_level(f: Function, x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(f(forward_ad.make_dual(x, x))).tangent
        return x if tangent is None else tangent


COMPILED = {
    "jvp": lambda f, x: jvp(f, (x,), (x,))[1],
    "grad": lambda f, x: grad(lambda x: f(x).sum())(x),
    "jvp of grad": lambda f, x: jvp(grad(lambda x: f(x).sin().sum()), (x,), (x,))[1],
    "dual numbers": within_a_dual_level,
}


@pytest.mark.parametrize("transform", COMPILED)
@pytest.mark.parametrize("operator", [CONV_BLOCK, LSTM], ids=str)
def test_in_torch_compile(operator: Operator, transform: str) -> None:
    """A transformation within what is compiled, and of it."""
    tensors = operator.inputs(operator.tiny, dtype=operator.exact)
    name, x = next(iter(tensors.items()))
    f, transformed = by_name(operator, tensors, name), COMPILED[transform]
    expected = transformed(f, x)
    assert_agrees(torch.compile(lambda x: transformed(f, x), backend="aot_eager")(x), expected, 1e-6)
    assert_agrees(transformed(torch.compile(f, backend="aot_eager"), x), expected, 1e-6)
    torch._dynamo.reset()


def test_of_a_network_after_fuse() -> None:
    """Where it worked before `fuse` it works after: forward mode by input, torch.func by parameters."""
    network = reference.LiteRTSE(bins=9, channels=8, order=2)
    spectrogram = torch.randn(1, 9, 4, 2)

    def forward_mode() -> Tensor:
        x = spectrogram.double()
        return jvp(copy.deepcopy(network).double(), (x,), (x.cos(),))[1]

    def by_parameters() -> Tensor:
        parameters = {name: p.detach() for name, p in network.named_parameters()}
        found = grad(lambda p: functional_call(network, p, (spectrogram,)).square().sum())(parameters)
        return torch.cat([g.flatten() for g in found.values()])

    expected = forward_mode(), by_parameters()
    assert fuse(network)
    assert_agrees(forward_mode(), expected[0], 1e-10)
    assert_agrees(by_parameters(), expected[1], 1e-5)
