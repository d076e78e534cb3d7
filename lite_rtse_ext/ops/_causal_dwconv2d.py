"""Causal depthwise convolution."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.ops import _check, _native, _register


def causal_dwconv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, dilation: int = 1) -> Tensor:
    """Causal depthwise convolution: frame t of the output depends on frames up to t only.

    (kt − 1) · dilation frames of zeros are padded before the first frame, and (kf − 1)/2 bins of zeros on either side.
    :func:`lite_rtse_ext.reference.causal_dwconv2d` gives the formula.

    Args:
        x: (batch, channels, frames, bins), float64, float32, float16 or bfloat16.
        weight: (channels, 1, kt, kf), kt and kf odd. There are specialized kernels for 3×3 and 7×7.
        bias: (channels,), or None.
        dilation: distance of neighboring taps in frames.

    Returns:
        (batch, channels, frames, bins), of x's dtype. float16 and bfloat16 are accumulated in float32.

    Raises:
        TypeError: ``x`` is not a tensor.
        RuntimeError: an argument has a wrong shape, dtype or device (the message names the argument), or the compiled
            operators are missing.
    """
    _native.require()
    _check.tensor("x", x)
    result: Tensor = _register.run(torch.ops.lite_rtse.causal_dwconv2d, x, weight, bias, dilation)
    return result


def _fake(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Tensor:
    _check.dtype("x", x)
    _check.shape("x", x, (None,) * 4, "(batch, channels, frames, bins)")
    _check.like("weight", weight, "x", x)
    _check.shape("weight", weight, (x.shape[1], 1, None, None), "(channels of x, 1, taps over frames, taps over bins)")
    if weight.shape[2] % 2 == 0 or weight.shape[3] % 2 == 0:
        raise RuntimeError(
            f"weight has kernel size {weight.shape[2]} x {weight.shape[3]}, must be odd in both directions"
        )
    if dilation < 1:
        raise RuntimeError(f"dilation is {dilation}, must be at least 1")
    if bias is not None:
        _check.like("bias", bias, "x", x)
        _check.shape("bias", bias, (x.shape[1],), "(channels of x)")
    return x.new_empty(x.shape)


def _fake_backward(
    dy: Tensor, x: Tensor, weight: Tensor, dilation: int, input: bool, parameters: bool
) -> tuple[Tensor, ...]:
    sizes = ((input, x.shape), (parameters, weight.shape), (parameters, weight.shape[:1]))
    return tuple(x.new_empty(size if wanted else (0,)) for wanted, size in sizes)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, ctx.dilation = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """Compute only the gradients that are needed: that of x, and those of both parameters together."""
    needs = (*ctx.needs_input_grad, False)[:3]  # the call may have left out the bias
    grads = torch.ops.lite_rtse.causal_dwconv2d_backward(dy, *ctx.saved_tensors, ctx.dilation, needs[0], any(needs[1:]))
    return *_register.if_asked(grads, needs), None


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.dilation, input, parameters = inputs
    ctx.asked = (input, parameters, parameters)
    ctx.save_for_backward(*tensors)


def _formula(dilation: int) -> Callable[..., Tensor]:
    return partial(reference.causal_dwconv2d, dilation=dilation)


def _plain_backward(
    dy: Tensor, x: Tensor, weight: Tensor, dilation: int, input: bool, parameters: bool
) -> tuple[Tensor, ...]:
    inputs = (x, weight, _register.any_bias(weight))
    return _register.first_order(_formula(dilation), inputs, dy, (input, parameters, parameters))


def _second(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    dy, x, weight = ctx.saved_tensors
    inputs = (x, weight, _register.any_bias(weight))
    found = _register.second_order(_formula(ctx.dilation), inputs, dy, grads, ctx.asked)
    return *found[:3], None, None, None


def _flops(x: Any, weight: Any, *_: Any, **__: Any) -> int:
    return _register.convolution_flops(x, [weight])


def _flops_backward(dy: Any, x: Any, weight: Any, dilation: int, input: bool, parameters: bool, **_: Any) -> int:
    return (int(input) + int(parameters)) * _register.convolution_flops(x, [weight])


if _native.available():
    _register.operator("causal_dwconv2d", _fake, reference.causal_dwconv2d, _setup, _backward, _flops)
    _register.operator(
        "causal_dwconv2d_backward", _fake_backward, _plain_backward, _setup_second, _second, _flops_backward
    )
    _register.autocast("causal_dwconv2d", _register.lower_precision)
    _register.vmap("causal_dwconv2d", batched=1)
    _register.vmap("causal_dwconv2d_backward", batched=0)
