"""1x1 convolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.ops import _check, _native, _register


def pointwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1x1 convolution: the product of a matrix with the channels of each point.

    Its kernels are for many channels. On CUDA PyTorch computes the products.

    Args:
        x: (batch, channels, points), float32.
        weight: (outputs, channels).
        bias: (outputs,), or None.

    Returns:
        (batch, outputs, points).

    Raises:
        TypeError: ``x`` is not a tensor.
        RuntimeError: an argument has a wrong shape, dtype or device (the message names the argument), or the compiled
            operators are missing.
    """
    _native.require()
    _check.tensor("x", x)
    result: Tensor = _register.run(torch.ops.lite_rtse.pointwise_conv, x, weight, bias)
    return result


def _check_arguments(x: Tensor, weight: Tensor) -> None:
    """Check the arguments that forward and backward share."""
    if x.dtype != torch.float32:
        raise RuntimeError(f"x has dtype {x.dtype}, must be float32")
    _check.shape("x", x, (None, None, None), "(batch, channels, points)")
    _check.like("weight", weight, "x", x)
    _check.shape("weight", weight, (None, x.shape[1]), "(outputs, channels of x)")


def _fake(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    _check_arguments(x, weight)
    if bias is not None:
        _check.like("bias", bias, "x", x)
        _check.shape("bias", bias, (weight.shape[0],), "(outputs)")
    return x.new_empty((x.shape[0], weight.shape[0], x.shape[2]))


def _fake_backward(dy: Tensor, x: Tensor, weight: Tensor, input: bool, parameters: bool) -> tuple[Tensor, ...]:
    _check_arguments(x, weight)
    _check.like("dy", dy, "x", x)
    _check.shape("dy", dy, (x.shape[0], weight.shape[0], x.shape[2]), "(batch, outputs, points)")
    sizes = ((input, x.shape), (parameters, weight.shape), (parameters, weight.shape[:1]))
    return tuple(x.new_empty(size if wanted else (0,)) for wanted, size in sizes)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """Compute only the gradients that are needed: that of x, and those of both parameters together."""
    needs = ctx.needs_input_grad
    grads = torch.ops.lite_rtse.pointwise_conv_backward(dy, *ctx.saved_tensors, needs[0], needs[1] or needs[2])
    return _register.if_asked(grads, needs)


def _plain_backward(dy: Tensor, x: Tensor, weight: Tensor, input: bool, parameters: bool) -> tuple[Tensor, ...]:
    inputs = (x, weight, _register.any_bias(weight))
    return _register.first_order(reference.pointwise_conv, inputs, dy, (input, parameters, parameters))


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, input, parameters = inputs
    ctx.asked = (input, parameters, parameters)
    ctx.save_for_backward(*tensors)


def _second(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    dy, x, weight = ctx.saved_tensors
    inputs = (x, weight, _register.any_bias(weight))
    found = _register.second_order(reference.pointwise_conv, inputs, dy, grads, ctx.asked)
    return *found[:3], None, None


def _on_cuda(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    _fake(x, weight, bias)
    return reference.pointwise_conv(x, weight, bias)


def _on_cuda_backward(dy: Tensor, x: Tensor, weight: Tensor, input: bool, parameters: bool) -> tuple[Tensor, ...]:
    dx, dweight, dbias = _fake_backward(dy, x, weight, input, parameters)
    if input:
        dx = torch.matmul(weight.t(), dy)
    if parameters:
        dweight, dbias = torch.einsum("bop,bip->oi", dy, x), dy.sum((0, 2))
    return dx, dweight, dbias


def _products(x: Any, weight: Any) -> int:
    """Operations of one product. A multiply-add counts as two."""
    return 2 * int(x[0] * x[2] * weight[0] * weight[1])


def _flops(x: Any, weight: Any, *_: Any, **__: Any) -> int:
    return _products(x, weight)


def _flops_backward(dy: Any, x: Any, weight: Any, input: bool, parameters: bool, **_: Any) -> int:
    return (int(input) + int(parameters)) * _products(x, weight)


if _native.available():
    _register.operator("pointwise_conv", _fake, reference.pointwise_conv, _setup, _backward, _flops)
    _register.operator(
        "pointwise_conv_backward", _fake_backward, _plain_backward, _setup_second, _second, _flops_backward
    )
    _register.autocast("pointwise_conv", _register.full_precision)
    _register.vmap("pointwise_conv", batched=1)
    _register.vmap("pointwise_conv_backward", batched=0)
    if _native.has_cuda():
        torch.library.impl("lite_rtse::pointwise_conv", "CUDA", _on_cuda)
        torch.library.impl("lite_rtse::pointwise_conv_backward", "CUDA", _on_cuda_backward)
