"""The Multi-Order block: a cascade of causal depthwise convolutions whose outputs gate one another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.ops import _check, _native, _register


def multi_order_conv(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """The Multi-Order block of order n = len(weights) / 2.

        h = in(x);  d_0, p_0 = h[:2C − g_0], h[2C − g_0:]            g_k = C / 2^(n−1−k)
        u_k = dw_k(d_k);  d_{k+1}, gate_k = u_k[:−g_k], u_k[−g_k:]   k = 0 … n−2
        p_{k+1} = pw_k(p_k · gate_k)
        y = out(d_{n−1} · p_{n−1})

    Args:
        x: (batch, in_channels, frames, bins), float64, float32, float16 or bfloat16.
        weights: 2n tensors in this order: in (2C, in_channels, 1, 1), n − 1 depthwise dw_k (D_k, 1, s, s), n − 1
            pointwise pw_k (2 g_k, g_k, 1, 1) and out (out_channels, C, 1, 1). Here D_0 = 2C − g_0 and
            D_{k+1} = D_k − g_k. The kernel size s is odd. There are specialized kernels for 7×7 and 3×3. C must be a
            multiple of 2^(n−1). n must be at least 2 and at most 32.
        biases: 2n tensors, one for each weight, whose length is the number of the weight's output channels.

    Returns:
        (batch, out_channels, frames, bins), of x's dtype. float16 and bfloat16 are accumulated in float32.

    Raises:
        TypeError: ``x`` is not a tensor.
        RuntimeError: an argument has a wrong shape, dtype or device (the message names the argument), or the compiled
            operators are missing.
    """
    _native.require()
    _check.tensor("x", x)
    result: Tensor = _register.run(torch.ops.lite_rtse.multi_order_conv, x, list(weights), list(biases))
    return result


def _fake(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    _check.dtype("x", x)
    _check.shape("x", x, (None,) * 4, "(batch, in channels, frames, bins)")
    batch, in_channels, frames, bins = x.shape
    if len(weights) < 4 or len(weights) % 2:
        raise RuntimeError(
            f"weights has {len(weights)} tensors, must have 2 n for order n >= 2: "
            "in, n - 1 depthwise, n - 1 pointwise, out"
        )
    _check.count("biases", biases, len(weights))
    order = len(weights) // 2
    if order > 32:
        raise RuntimeError(f"weights has {len(weights)} tensors, for order {order}, must be of order 32 at most")
    _check.shape("weights[0]", weights[0], (None, in_channels, 1, 1), "1x1 in, (2 channels, in channels of x, 1, 1)")
    doubled, unit = weights[0].shape[0], 2 ** (order - 1)
    if doubled == 0 or doubled % (2 * unit):
        raise RuntimeError(
            f"weights[0] gives {doubled} channels, must be twice a multiple of 2^(order - 1) = {unit} "
            f"for the {len(weights)} weights of order {order}"
        )
    channels = doubled // 2
    gates = [channels >> (order - 1 - k) for k in range(order - 1)]
    if weights[1].dim() != 4 or weights[1].shape[2] % 2 == 0:
        raise RuntimeError(
            f"weights[1] has shape {tuple(weights[1].shape)}, must be 4-dimensional with odd kernel size"
        )
    taps, split = weights[1].shape[2], doubled - gates[0]
    for k, gate in enumerate(gates):
        depthwise, pointwise = 1 + k, order + k
        _check.shape(f"weights[{depthwise}]", weights[depthwise], (split, 1, taps, taps), "depthwise")
        _check.shape(
            f"weights[{pointwise}]", weights[pointwise], (2 * gate, gate, 1, 1), "1x1 from gate to gate, (2 g, g, 1, 1)"
        )
        split -= gate
    _check.shape(
        f"weights[{2 * order - 1}]", weights[-1], (None, channels, 1, 1), "1x1 out, (out channels, channels, 1, 1)"
    )
    if weights[-1].shape[0] == 0:
        raise RuntimeError(f"weights[{2 * order - 1}] gives 0 output channels, must give at least 1")
    _check.parameters(x, weights, biases)
    return x.new_empty(batch, weights[-1].shape[0], frames, bins)


if _native.available():
    _register.block("multi_order_conv", _fake, reference.multi_order_conv, of_x=(0,))
