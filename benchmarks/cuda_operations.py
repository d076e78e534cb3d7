"""Number of multiply-adds of each CUDA kernel per point, computed from the shapes of the weights.

A point is a bin of a frame. In a recurrent layer it is a frame of a sequence.

Recomputation of the forward pass, which saves nothing, is counted. So are products with zeros on tensor cores. Not
counted are other padding, the bins and frames where segments and tiles overlap, and single products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import Any

from torch import Tensor

Counts = dict[str, int]

FRAGMENT = 16 * 8 * 16
"""Multiply-adds of one product of fragments on tensor cores."""

ON_TENSOR_CORES = ", on tensor cores"
"""Behind the name of a kernel: the part of its multiply-adds that tensor cores do."""


def _depthwise(arguments: Sequence[Any], backward: bool) -> Counts:
    (weight,) = (a for a in arguments if isinstance(a, Tensor) and a.ndim == 4 and a.shape[1] == 1)
    once = weight.numel()
    return {"dwconv_convolve": once, "dwconv_weight_gradient": once} if backward else {"dwconv_convolve": once}


def _conv_block(arguments: Sequence[Any], backward: bool) -> Counts:
    """Count the convolutions in, dw, out and skip.

    In the backward pass, the first kernel recomputes all of them. It also computes the weight gradient of dw and both
    gradients of out and skip. The second kernel computes dh, the gradients of in, and its part of dx.
    """
    weights, _ = (a for a in arguments if isinstance(a, list))
    w_in, dw, out, skip = (weight.numel() for weight in weights)
    if not backward:
        return {"conv_block_forward": w_in + dw + out + skip}
    return {"conv_block_gradient_out": w_in + 2 * dw + 3 * out + 3 * skip, "conv_block_gradient_in": dw + 2 * w_in}


def _multi_order_conv(arguments: Sequence[Any], backward: bool, bands: bool) -> Counts:
    """Count the 1×1s, the depthwise cascade and the gate chain.

    The backward pass recomputes h, u and the gate chain. The kernel of the cascade's gradient recomputes, a second
    time, the stages of every channel except its last stage.
    """
    weights, _ = (a for a in arguments if isinstance(a, list))
    bins = next(a for a in arguments if isinstance(a, Tensor)).shape[-1] if bands else None
    stages = len(weights) // 2 - 1
    w_in, out = weights[0].numel(), weights[-1].numel()
    depthwise = weights[1 : 1 + stages]
    gates = sum(weight.numel() for weight in weights[1 + stages : -1])
    if not backward:
        return {"pointwise": w_in, "gates_forward": gates + out} | _stages("cascade_forward", depthwise, bins)
    sums = sum(weight.numel() for weight in depthwise)  # of the weight gradients
    # One stage of every channel has as many weights as the first stage.
    convolutions = [*depthwise, *depthwise[1:]]
    return {
        "pointwise": 2 * w_in,
        "pointwise_gradient": w_in,
        **_stages("cascade_forward", depthwise, bins),
        **_stages("cascade_gradient", convolutions, bins, sums),
        "gates_backward": 3 * gates + 2 * out,
    }


def _stages(kernel: str, weights: Sequence[Tensor], bins: int | None, others: int = 0) -> Counts:
    """Count depthwise stages, and other multiply-adds of the kernel.

    With a number of bins the stages run on tensor cores: five products for a row of taps, in each tile of at most 288.
    """
    if bins is None:
        return {kernel: others + sum(weight.numel() for weight in weights)}
    rows = sum(7 * weight.shape[0] for weight in weights)
    return {kernel: others, kernel + ON_TENSOR_CORES: round(rows * 5 * ceil(bins / 288) * FRAGMENT / bins)}


def _reconstruction(arguments: Sequence[Any], backward: bool) -> Counts:
    """Return zeros: these kernels are memory-bound, and their operations are negligible."""
    return {"mask_residual_rows": 0, "mask_residual_tiles": 0}


def _lstm(arguments: Sequence[Any], backward: bool) -> Counts:
    """Count W_hh h, or W_hhᵀ times the gradients of the gates. The other products are PyTorch's."""
    return {"lstm_backward" if backward else "lstm_forward": arguments[-1][1].numel()}


def _gru(arguments: Sequence[Any], backward: bool) -> Counts:
    """Count the same as of an LSTM, in both kinds of kernels."""
    once = sum(weight.numel() for weight in arguments[-1]["weight_hh"])
    what = "backward" if backward else "forward"
    return {f"gru_lanes_{what}": once, f"gru_groups_{what}": once}


def _normalization(arguments: Sequence[Any], backward: bool) -> Counts:
    """Return zeros: these kernels are memory-bound, and their operations are negligible."""
    names = ("statistics", "statistics_finish", "gradients", "gradients_finish", "apply")
    return {f"norm_{name}": 0 for name in names}


_OPERATORS: dict[str, Callable[[Sequence[Any], bool], Counts]] = {
    "causal_dwconv2d": _depthwise,
    "conv_block": _conv_block,
    "mask_residual": _reconstruction,
    "lstm": _lstm,
    "gru": _gru,
    "norm_prelu": _normalization,
}
_SUMS = {"reduce_rows": 0}
"""Sums of the rows that other kernels write. They consist of additions alone."""


def multiply_adds(operator: str, arguments: Sequence[Any], backward: bool, bands: bool = False) -> Counts:
    """Return the multiply-adds per point of each kernel, over all its launches in one call.

    Args:
        operator: name of the operator.
        arguments: the arguments of the operator or of its backward operator.
        backward: whether the call is that of the backward operator.
        bands: whether the depthwise stages of ``multi_order_conv`` run on tensor cores.
    """
    if operator == "multi_order_conv":
        return _multi_order_conv(arguments, backward, bands) | _SUMS
    return _OPERATORS[operator](arguments, backward) | _SUMS


def points(operator: str, arguments: Sequence[Any]) -> int:
    """Return the number of points of a call: sequences × frames, or utterances × frames × bins."""
    if operator in ("lstm", "gru"):
        values = arguments[-1]
        batch, frames, _ = values[0].shape if operator == "lstm" else values["input"][0].shape
        return int(batch * frames)
    first = next(a for a in arguments if isinstance(a, Tensor))
    batch, _, rows, columns = first.shape
    is_spectrogram = columns == 2
    return prod((batch, first.shape[1], rows)) if is_spectrogram else prod((batch, rows, columns))
