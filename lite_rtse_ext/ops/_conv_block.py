"""The Conv-Block: a 1×1, causal depthwise 3×3 and 1×1 convolution, gated by a 1×1 skip path."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.ops import _check, _native, _register


def conv_block(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """The Conv-Block: (out ∘ dw ∘ in)(x) · skip(x).

    `in`, `out` and `skip` are 1×1 convolutions. `dw` is a causal depthwise 3×3 convolution. There is no activation.

    Args:
        x: (batch, in_channels, frames, bins), float64, float32, float16 or bfloat16.
        weights: four tensors in this order: in (channels, in_channels, 1, 1), dw (channels, 1, 3, 3),
            out (channels, channels, 1, 1) and skip (channels, in_channels, 1, 1).
        biases: four tensors (channels,), in the same order.

    Returns:
        (batch, channels, frames, bins), of x's dtype. float16 and bfloat16 are accumulated in float32.

    Raises:
        TypeError: ``x`` is not a tensor.
        RuntimeError: an argument has a wrong shape, dtype or device (the message names the argument), or the compiled
            operators are missing.
    """
    _native.require()
    _check.tensor("x", x)
    result: Tensor = _register.run(torch.ops.lite_rtse.conv_block, x, list(weights), list(biases))
    return result


def _fake(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    _check.dtype("x", x)
    _check.shape("x", x, (None,) * 4, "(batch, in channels, frames, bins)")
    _check.count("weights", weights, 4)
    _check.count("biases", biases, 4)
    batch, in_channels, frames, bins = x.shape
    _check.shape("weights[0]", weights[0], (None, in_channels, 1, 1), "1x1 in, (channels, in channels of x, 1, 1)")
    channels = weights[0].shape[0]
    _check.shape("weights[1]", weights[1], (channels, 1, 3, 3), "depthwise, (channels, 1, 3, 3)")
    _check.shape("weights[2]", weights[2], (channels, channels, 1, 1), "1x1 out, (channels, channels, 1, 1)")
    _check.shape(
        "weights[3]", weights[3], (channels, in_channels, 1, 1), "1x1 skip, (channels, in channels of x, 1, 1)"
    )
    _check.parameters(x, weights, biases)
    return x.new_empty(batch, channels, frames, bins)


if _native.available():
    _register.block("conv_block", _fake, reference.conv_block, of_x=(0, 3))
