"""What the operators' registrations share: double backward, autocast and vmap rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

_library = torch.library.Library("lite_rtse", "FRAGMENT")  # type: ignore[no-untyped-call]
_DEVICES = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}

Rule = Callable[..., Any]


def second_order(
    reference: Callable[..., Tensor], inputs: Sequence[Tensor], dy: Tensor, grads: Sequence[Tensor | None]
) -> list[Tensor]:
    """Gradients of a backward operator with respect to dy and the inputs, through the reference.

    The backward operator is linear in dy and computes g_i = Σ dy · ∂y/∂input_i. For incoming gradients `grads` of the
    g_i this differentiates Σ_i grads_i · g_i once more, in plain PyTorch: exact, and as slow as the reference. Where a
    graph is asked for, the result has one, so that all higher derivatives follow.
    """
    higher = torch.is_grad_enabled()

    def leaf(value: Tensor) -> Tensor:
        return value.view_as(value) if higher and value.requires_grad else value.detach().requires_grad_()

    with torch.enable_grad():
        leaves = [leaf(t) for t in inputs]
        dy = leaf(dy)
        first = torch.autograd.grad(reference(*leaves), leaves, dy, create_graph=True)
        wanted = [(g, v) for g, v in zip(first, grads, strict=True) if v is not None and g.requires_grad]
        if not wanted:
            return [torch.zeros_like(t) for t in (dy, *leaves)]
        outputs, vectors = zip(*wanted, strict=True)
        second = torch.autograd.grad(outputs, [dy, *leaves], vectors, allow_unused=True, create_graph=higher)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(second, (dy, *leaves), strict=True)]


def autocast(name: str, target: Callable[[str], torch.dtype]) -> None:
    """Under autocast, float16, bfloat16 and float32 arguments become target(device type); float64 stays."""
    operator = getattr(torch.ops.lite_rtse, name).default

    def cast(value: Any, device: str) -> Any:
        eligible = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64
        return value.to(target(device)) if eligible else value

    for device, key in _DEVICES.items():

        def kernel(*args: Any, device: str = device) -> Any:
            with torch.autocast(device, enabled=False):
                return operator(*pytree.tree_map(lambda v: cast(v, device), args))

        _library.impl(name, kernel, key)  # type: ignore[no-untyped-call]


def _is_leaf_dim(value: Any) -> bool:
    return value is None or isinstance(value, int)


def _loop(operator: Rule, size: int, dims: Any, args: Any) -> Any:
    """One call a sample, stacked: the rule for batched parameters, which one call of the kernel cannot take."""
    flat, spec = pytree.tree_flatten(args)
    flat_dims = pytree.tree_leaves(dims, is_leaf=_is_leaf_dim)
    samples = [v if d is None else v.unbind(d) for v, d in zip(flat, flat_dims, strict=True)]
    results = []
    for i in range(size):
        values = [v if d is None else v[i] for v, d in zip(samples, flat_dims, strict=True)]
        results.append(operator(*pytree.tree_unflatten(values, spec)))
    out = pytree.tree_map(lambda *each: torch.stack(each), *results)
    return out, pytree.tree_map(lambda _: 0, results[0])


def vmap(name: str, batched: int | None = None) -> None:
    """Rule for torch.vmap.

    The first `batched` arguments (None: all) have a batch dimension of their own, into which vmap's is folded where no
    other argument is mapped; otherwise the samples are run one after another.
    """
    operator = getattr(torch.ops.lite_rtse, name).default

    def rule(info: Any, dims: tuple[Any, ...], *args: Any) -> Any:
        size = info.batch_size
        mapped_parameter = any(d is not None for d in pytree.tree_leaves(dims[batched:], is_leaf=_is_leaf_dim))
        if batched == 0 or (mapped_parameter and batched is not None):
            return _loop(operator, size, dims, args)
        count = len(args) if batched is None else batched
        folded = [fold(v, d, size) for v, d in zip(args[:count], dims[:count], strict=True)]
        out = operator(*folded, *args[count:])
        return pytree.tree_map(lambda y: y.unflatten(0, (size, -1)), out), pytree.tree_map(lambda _: 0, out)

    def fold(value: Tensor, dim: int | None, size: int) -> Tensor:
        value = value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)
        return value.flatten(0, 1)

    torch.library.register_vmap(f"lite_rtse::{name}", rule, lib=_library)


def lower_precision(device: str) -> torch.dtype:
    """Autocast's own type, as for PyTorch's convolutions."""
    return torch.get_autocast_dtype(device)


def full_precision(device: str) -> torch.dtype:
    """float32, as for PyTorch's losses and norms."""
    return torch.float32


def block(name: str, fake: Rule, reference: Rule) -> None:
    """Everything for an operator `name(x, weights, biases)` whose backward returns [dx, *dweights, *dbiases]."""
    operator = getattr(torch.ops.lite_rtse, f"{name}_backward").default

    def fake_backward(dy: Tensor, x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> list[Tensor]:
        return [t.new_empty(t.shape) for t in (x, *weights, *biases)]

    def split(values: Sequence[Any], count: int) -> tuple[Any, list[Any], list[Any]]:
        return values[0], list(values[1 : 1 + count]), list(values[1 + count :])

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        x, weights, biases = inputs
        ctx.save_for_backward(x, *weights, *biases)

    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weights, biases = split(ctx.saved_tensors, len(ctx.saved_tensors) // 2)
        return split(operator(dy, x, weights, biases), len(weights))

    def setup_second(ctx: Any, inputs: Any, output: Any) -> None:
        dy, x, weights, biases = inputs
        ctx.save_for_backward(dy, x, *weights, *biases)

    def second(ctx: Any, grads: Sequence[Tensor | None]) -> Any:
        dy, *inputs = ctx.saved_tensors
        count = len(inputs) // 2

        def flat(*values: Tensor) -> Tensor:
            result: Tensor = reference(*split(values, count))
            return result

        ddy, *rest = second_order(flat, inputs, dy, grads)
        return ddy, *split(rest, count)

    torch.library.register_fake(f"lite_rtse::{name}", fake)
    torch.library.register_fake(f"lite_rtse::{name}_backward", fake_backward)
    torch.library.register_autograd(f"lite_rtse::{name}", backward, setup_context=setup)
    torch.library.register_autograd(f"lite_rtse::{name}_backward", second, setup_context=setup_second)
    autocast(name, lower_precision)
    vmap(name, batched=1)
    vmap(f"{name}_backward", batched=0)
