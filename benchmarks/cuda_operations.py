"""How many multiply-adds each CUDA kernel is asked for, at each (frame, bin), from the shapes of the weights.

What is computed anew because the forward pass kept nothing is counted; padding, the bins and frames at which segments
and tiles overlap, and products of two numbers are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from torch import Tensor

Counts = dict[str, int]


def _depthwise(arguments: Sequence[Any], backward: bool) -> Counts:
    (weight,) = (a for a in arguments if isinstance(a, Tensor) and a.ndim == 4 and a.shape[1] == 1)
    once = weight.numel()
    return {"dwconv_convolve": once, "dwconv_weight_gradient": once} if backward else {"dwconv_convolve": once}


def _conv_block(arguments: Sequence[Any], backward: bool) -> Counts:
    """in, dw, out and skip. Backward, the first kernel computes all of them anew and does dw's weight gradient and both
    gradients of out and skip; the second is left with dh, the gradients of in, and its share of dx."""
    weights, _ = (a for a in arguments if isinstance(a, list))
    w_in, dw, out, skip = (weight.numel() for weight in weights)
    if not backward:
        return {"conv_block_forward": w_in + dw + out + skip}
    return {"conv_block_gradient_out": w_in + 2 * dw + 3 * out + 3 * skip, "conv_block_gradient_in": dw + 2 * w_in}


def _multi_order_conv(arguments: Sequence[Any], backward: bool) -> Counts:
    """Backward: h, u and the gate chain anew; in the cascade's kernel every channel's stages but its last once more."""
    weights, _ = (a for a in arguments if isinstance(a, list))
    stages = len(weights) // 2 - 1
    w_in, out = weights[0].numel(), weights[-1].numel()
    depthwise = sum(weight.numel() for weight in weights[1 : 1 + stages])
    gates = sum(weight.numel() for weight in weights[1 + stages : -1])
    last = weights[1].numel()  # a stage of every channel
    if not backward:
        return {"pointwise": w_in, "cascade_forward": depthwise, "gates_forward": gates + out}
    return {
        "pointwise": 2 * w_in,
        "pointwise_gradient": w_in,
        "cascade_forward": depthwise,
        "cascade_gradient": 3 * depthwise - last,
        "gates_backward": 3 * gates + 2 * out,
    }


def _reconstruction(arguments: Sequence[Any], backward: bool) -> Counts:
    """Bound by memory: nothing worth counting."""
    return {"mask_residual_rows": 0, "mask_residual_tiles": 0}


_OPERATORS: dict[str, Callable[[Sequence[Any], bool], Counts]] = {
    "causal_dwconv2d": _depthwise,
    "conv_block": _conv_block,
    "multi_order_conv": _multi_order_conv,
    "mask_residual": _reconstruction,
}
_SUMS = {"reduce_rows": 0}
"""Sums of the rows that other kernels leave: additions alone."""


def multiply_adds(operator: str, arguments: Sequence[Any], backward: bool) -> Counts:
    """By kernel, of all its launches in one call of the operator or its backward, for a (frame, bin).

    Args:
        operator: its name.
        arguments: as the operator, or its backward, takes them.
        backward: which of the two.
    """
    return _OPERATORS[operator](arguments, backward) | _SUMS


def points(arguments: Sequence[Any]) -> int:
    """Utterances × frames × bins of a call: the size of one channel."""
    first = next(a for a in arguments if isinstance(a, Tensor))
    batch, _, rows, columns = first.shape
    is_spectrogram = columns == 2
    return prod((batch, first.shape[1], rows)) if is_spectrogram else prod((batch, rows, columns))
