"""Shared parts of the operators' registrations: derivatives, operation counts, autocast and vmap rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._library.autograd import Info, make_autograd_impl
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import register_flop_formula

from lite_rtse_ext.utils.tracing import is_onnx_export

_library = torch.library.Library("lite_rtse", "FRAGMENT")  # type: ignore[no-untyped-call]
_DEVICES = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}

Rule = Callable[..., Any]


def operator(name: str, fake: Rule, plain: Rule, setup: Rule, backward: Rule, flops: Rule) -> None:
    """Register what an operator needs for tracing, derivatives and operation counts.

    PyTorch's registration for operators supports reverse mode only. It drops the tangents of forward mode, and
    `torch.func.grad` refuses it. Arguments under those transformations go through `plain` instead, which is exact.

    Args:
        name: the operator's name in ``torch.ops.lite_rtse``.
        fake: a function that checks the arguments and returns results without data.
        plain: the operator's formula in differentiable PyTorch.
        setup, backward: reverse mode, as in ``torch.library.register_autograd``.
        flops: a function that returns the operations for the arguments' shapes, as in ``torch.utils.flop_counter``.
    """
    packet = getattr(torch.ops.lite_rtse, name)
    compiled = make_autograd_impl(packet.default, Info(backward, setup))

    def kernel(keyset: Any, *args: Any) -> Any:
        if not _needs_plain(args):
            try:
                return compiled(keyset, *args)
            except RuntimeError as error:
                raise of_pytorchs_type(error) from None
        fake(*args)
        return plain(*args)

    torch.library.register_fake(f"lite_rtse::{name}", fake)
    _library.impl(name, kernel, "Autograd", with_keyset=True)  # type: ignore[no-untyped-call]
    register_flop_formula(packet)(flops)


def of_pytorchs_type(error: RuntimeError) -> RuntimeError:
    """The error, with PyTorch's type if a GPU's memory is exhausted. The library passes on the message only."""
    words = str(error)
    lost = type(error) is RuntimeError and words.startswith("CUDA out of memory")
    return torch.OutOfMemoryError(words) if lost else error


def run(operator: Callable[..., Any], *args: Any) -> Any:
    """Call an operator. Inference mode passes its autograd kernel by, so that its errors get their type here."""
    if torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():  # Dynamo cannot trace the second
        return operator(*args)
    try:
        return operator(*args)
    except RuntimeError as error:
        raise of_pytorchs_type(error) from None


def _tensors(args: Sequence[Any]) -> Iterator[Tensor]:
    for value in args:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _needs_plain(args: Sequence[Any]) -> bool:
    """Whether an argument has a forward-mode tangent, torch.func differentiates it, or the ONNX exporter is running."""
    functional = torch._C._are_functorch_transforms_active()
    if is_onnx_export():
        return True
    if functional and torch.is_grad_enabled() and any(t.requires_grad for t in _tensors(args)):
        return True
    # Python does not see the forward-mode level inside a compiled graph. A tracer must therefore inspect the tensors.
    # The inspection takes time, so it is skipped elsewhere.
    may_have = functional or forward_ad._current_level >= 0 or torch._C._len_torch_dispatch_stack() > 0
    return may_have and any(_tangent(t) is not None for t in _tensors(args))


def _tangent(value: Tensor) -> Tensor | None:
    """The tangent at level 0, which is the only level."""
    tangent: Tensor | None = forward_ad.unpack_dual(value, level=0).tangent  # type: ignore[no-untyped-call]
    return tangent


def any_bias(weight: Tensor) -> Tensor:
    """A bias of a convolution for the reference. The gradients do not depend on its values."""
    return weight.new_zeros(weight.shape[0])


def if_asked(values: Iterable[Any], asked: Iterable[bool]) -> tuple[Any, ...]:
    """The values that are asked for, and None in place of the others."""
    return tuple(value if wanted else None for value, wanted in zip(values, asked, strict=True))


def or_empty(like: Tensor, grads: Iterable[Tensor | None]) -> tuple[Tensor, ...]:
    """Results of a backward operator, which returns an empty tensor for a gradient that was not asked for."""
    return tuple(like.new_empty(0) if grad is None else grad for grad in grads)


def first_order(
    reference: Callable[..., Tensor], inputs: Sequence[Tensor], dy: Tensor, asked: Sequence[bool]
) -> tuple[Tensor, ...]:
    """Compute the result of a backward operator in plain PyTorch.

    This is g_i = Σ dy · ∂y/∂input_i for each input that is asked for, and an empty tensor for each other input.
    """
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            "torch.func cannot differentiate a gradient that torch.autograd.grad takes of a fused operator: "
            "take that gradient with torch.func.grad or torch.func.vjp"
        )
    higher = torch.is_grad_enabled()
    grads = _gradients(reference, [_leaf(t, higher) for t in inputs], dy, higher)
    return or_empty(dy, if_asked(grads, asked))


def _gradients(
    reference: Callable[..., Tensor], leaves: Sequence[Tensor], dy: Tensor, create_graph: bool
) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        return torch.autograd.grad(reference(*leaves), leaves, dy, create_graph=create_graph)


def _leaf(value: Tensor, keep_graph: bool) -> Tensor:
    """A tensor with the same values and tangent, with respect to which gradients are taken."""
    if keep_graph and value.requires_grad:
        return value.view_as(value)
    leaf, tangent = value.detach().requires_grad_(), _tangent(value)
    if tangent is None:
        return leaf
    dual: Tensor = forward_ad.make_dual(leaf, tangent, level=0)  # type: ignore[no-untyped-call]
    return dual


def second_order(
    reference: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    dy: Tensor,
    grads: Sequence[Tensor | None],
    asked: Sequence[bool],
) -> list[Tensor]:
    """Gradients of a backward operator with respect to dy and the inputs, through the reference.

    The backward operator is linear in dy. It computes g_i = Σ dy · ∂y/∂input_i for each input that is `asked` for. This
    function is given the gradients `grads` of the g_i. It differentiates Σ_i grads_i · g_i once more in plain PyTorch.
    The result is exact, and the computation is as slow as the reference. If a graph is requested, the result has one,
    so all higher derivatives exist.
    """
    higher = torch.is_grad_enabled()
    dy, *leaves = (_leaf(t, higher) for t in (dy, *inputs))
    first = _gradients(reference, leaves, dy, create_graph=True)
    pairs = zip(first, if_asked(grads, asked), strict=True)
    wanted = [(g, v) for g, v in pairs if v is not None and g.requires_grad]
    if not wanted:
        return [torch.zeros_like(t) for t in (dy, *leaves)]
    outputs, vectors = zip(*wanted, strict=True)
    with torch.enable_grad():
        second = torch.autograd.grad(outputs, [dy, *leaves], vectors, allow_unused=True, create_graph=higher)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(second, (dy, *leaves), strict=True)]


def convolution_flops(x: Sequence[int], weights: Sequence[Sequence[int]]) -> int:
    """Operations of convolutions that keep the frames and bins of x. A multiply-add counts as two.

    `x` and `weights` are shapes. The backward pass has twice as many operations: one product for the input and one for
    the weight.
    """
    batch, _, frames, bins = x
    return 2 * batch * frames * bins * sum(prod(weight) for weight in weights)


def autocast(name: str, target: Callable[[str], torch.dtype]) -> None:
    """Register the rule for autocast.

    Arguments of float16, bfloat16 and float32 are cast to target(device type). float64 is not cast.
    """
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


def _samples(value: Tensor, dim: int) -> Sequence[Tensor]:
    return value.unbind(dim) or (value.sum(dim),)


def _loop(operator: Rule, size: int, dims: Any, args: Any) -> Any:
    """One call for each sample, with stacked results. One call of the kernel cannot take batched parameters.

    Without samples, a call for zeros gives the sizes of the results.
    """
    flat, spec = pytree.tree_flatten(args)
    flat_dims = pytree.tree_leaves(dims, is_leaf=_is_leaf_dim)
    samples = [v if d is None else _samples(v, d) for v, d in zip(flat, flat_dims, strict=True)]
    results = []
    for i in range(max(size, 1)):
        values = [v if d is None else v[i] for v, d in zip(samples, flat_dims, strict=True)]
        results.append(operator(*pytree.tree_unflatten(values, spec)))
    out = pytree.tree_map(lambda *each: torch.stack(each)[:size], *results)
    return out, pytree.tree_map(lambda _: 0, results[0])


def vmap(name: str, batched: int | None = None) -> None:
    """Register the rule for torch.vmap.

    The first `batched` arguments have a batch dimension; None stands for all arguments. If no other argument is mapped,
    vmap's dimension is folded into that batch dimension. Otherwise the samples run one after another.
    """
    operator = getattr(torch.ops.lite_rtse, name).default

    def rule(info: Any, dims: tuple[Any, ...], *args: Any) -> Any:
        size = info.batch_size
        mapped_parameter = any(d is not None for d in pytree.tree_leaves(dims[batched:], is_leaf=_is_leaf_dim))
        if size == 0 or batched == 0 or (mapped_parameter and batched is not None):
            return _loop(operator, size, dims, args)
        count = len(args) if batched is None else batched
        folded = [fold(v, d, size) for v, d in zip(args[:count], dims[:count], strict=True)]
        out = operator(*folded, *args[count:])
        return pytree.tree_map(lambda y: y.unflatten(0, (size, -1)), out), pytree.tree_map(lambda _: 0, out)

    def fold(value: Tensor, dim: int | None, size: int) -> Tensor:
        value = value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)
        return value.flatten(0, 1)

    torch.library.register_vmap(f"lite_rtse::{name}", rule, lib=_library)


def batched_gradients(name: str, plain: Rule) -> None:
    """Register the rule of a backward operator on lists for ``torch.autograd.grad(..., is_grads_batched=True)``.

    `torch.autograd.functional.jacobian(vectorize=True)` is one of its users. It has a dispatch key of its own, apart
    from that of torch.vmap. PyTorch falls back to a loop, but not for operators that take or return lists.
    """
    _library.impl(name, plain, "Batched")  # type: ignore[no-untyped-call]


def lower_precision(device: str) -> torch.dtype:
    """The dtype of autocast, as for PyTorch's convolutions."""
    return torch.get_autocast_dtype(device)


def full_precision(device: str) -> torch.dtype:
    """float32, as for PyTorch's losses and norms."""
    return torch.float32


def block(name: str, fake: Rule, reference: Rule, of_x: Sequence[int]) -> None:
    """Register an operator `name(x, weights, biases)` whose backward returns [dx, *dweights, *dbiases].

    The backward operator computes the gradient of x, and those of all parameters together, only if they are asked for.
    `of_x` are the indices of the weights that x itself is multiplied with.
    """
    backward_operator = getattr(torch.ops.lite_rtse, f"{name}_backward").default

    def fake_backward(
        dy: Tensor,
        x: Tensor,
        weights: list[Tensor],
        biases: list[Tensor],
        input: bool,
        parameters: bool,
    ) -> list[Tensor]:
        inputs = (x, *weights, *biases)
        sizes = if_asked((t.shape for t in inputs), asked(inputs, input, parameters))
        return [x.new_empty((0,) if size is None else size) for size in sizes]

    def asked(inputs: Sequence[Tensor], input: bool, parameters: bool) -> list[bool]:
        return [input, *[parameters] * (len(inputs) - 1)]

    def split(values: Sequence[Any]) -> tuple[Any, list[Any], list[Any]]:
        x, *parameters = values
        count = len(parameters) // 2
        return x, parameters[:count], parameters[count:]

    def flat(*values: Tensor) -> Tensor:
        result: Tensor = reference(*split(values))
        return result

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        x, weights, biases = inputs
        ctx.save_for_backward(x, *weights, *biases)

    def backward(ctx: Any, dy: Tensor) -> Any:
        by_x, by_weights, by_biases = ctx.needs_input_grad
        needs = (by_x, *by_weights, *by_biases)
        grads = backward_operator(dy, *split(ctx.saved_tensors), by_x, any(needs[1:]))
        return split(if_asked(grads, needs))

    def plain_backward(
        dy: Tensor,
        x: Tensor,
        weights: list[Tensor],
        biases: list[Tensor],
        input: bool,
        parameters: bool,
    ) -> list[Tensor]:
        inputs = (x, *weights, *biases)
        return list(first_order(flat, inputs, dy, asked(inputs, input, parameters)))

    def setup_second(ctx: Any, inputs: Any, output: Any) -> None:
        dy, x, weights, biases, *ctx.flags = inputs
        ctx.save_for_backward(dy, x, *weights, *biases)

    def second(ctx: Any, grads: Sequence[Tensor | None]) -> Any:
        dy, *inputs = ctx.saved_tensors
        ddy, *rest = second_order(flat, inputs, dy, grads, asked(inputs, *ctx.flags))
        return ddy, *split(rest), None, None

    def flops(x: Any, weights: Any, biases: Any, **_: Any) -> int:
        return convolution_flops(x, weights)

    def flops_backward(dy: Any, x: Any, weights: Any, biases: Any, input: bool, parameters: bool, **_: Any) -> int:
        by_inputs = convolution_flops(x, [w for i, w in enumerate(weights) if input or i not in of_x])
        return by_inputs + (convolution_flops(x, weights) if parameters else 0)

    operator(name, fake, reference, setup, backward, flops)
    operator(f"{name}_backward", fake_backward, plain_backward, setup_second, second, flops_backward)
    autocast(name, lower_precision)
    vmap(name, batched=1)
    vmap(f"{name}_backward", batched=0)
    batched_gradients(f"{name}_backward", plain_backward)
