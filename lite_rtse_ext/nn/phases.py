"""Convolutions with stride 2 over bins, where PyTorch's kernels for the transposed direction are slow.

The transposed convolution, and so the input's gradient of the ordinary one, depends on the even taps for even bins and
on the odd taps for odd bins. One ordinary convolution computes both as separate channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional

from lite_rtse_ext.nn.tensors import is_channels_last
from lite_rtse_ext.utils.tracing import is_recorded

__all__ = ["differentiates", "fits", "strided", "transposed"]

Pair = tuple[int, int]
_STRIDE, _DILATION = (1, 2), (1, 1)


def fits(kernel: Pair, padding: Pair, more: int) -> bool:
    """Whether :func:`transposed` computes these sizes. ``more`` is the output padding of the bins."""
    return padding[0] < kernel[0] and more <= padding[1] + kernel[1] % 2


def differentiates() -> bool:
    """Whether the functions below have the gradients that this call may need."""
    return not is_recorded() and forward_ad._current_level < 0


def transposed(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair, more: int) -> Tensor:
    """A transposed convolution of one group. Without ``torch.no_grad``, :func:`differentiates` has to be true."""
    needs = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias))
    if not needs:
        return _by_phases(x, weight, bias, padding, more)
    result: Tensor = _Transposed.apply(x, weight, bias, padding, more)  # type: ignore[no-untyped-call]
    return result


def strided(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair) -> Tensor:
    """An ordinary convolution of one group. :func:`differentiates` has to be true."""
    result: Tensor = _Strided.apply(x, weight, bias, padding)  # type: ignore[no-untyped-call]
    return result


def _by_phases(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair, more: int) -> Tensor:
    kt, kf = weight.shape[2:]
    taps = -(-kf // 2)  # of the even bins. The odd bins have as many, of which the last may be zero.
    phases = torch.unflatten(functional.pad(weight, (0, 2 * taps - kf)), 3, (taps, 2))
    phases = phases.permute(4, 1, 0, 2, 3).flatten(0, 1).flip(2, 3)  # all outputs' even bins, then their odd bins
    bias = None if bias is None else bias.repeat(2)
    y = functional.conv2d(x, phases, bias, 1, (kt - 1 - padding[0], taps - 1))
    first = padding[1]
    bins = slice(first, first + 2 * (x.shape[3] - 1) + kf + more - 2 * first)
    if is_channels_last(y):  # the phases of a bin lie side by side, and so are two bins
        y = torch.unflatten(y.permute(0, 2, 3, 1), 3, (2, -1)).flatten(2, 3).permute(0, 3, 1, 2)[..., bins]
        return y.contiguous(memory_format=torch.channels_last)  # PyTorch's norms are slow on a part of an image
    return _interleaved(y, bins)


def _interleaved(phases: Tensor, bins: slice) -> Tensor:
    """These of all bins, as a dense tensor. Code that follows a convolution may call ``view`` on its result."""
    batch, channels, frames, _ = phases.shape
    y = phases.new_empty((batch, channels // 2, frames, bins.stop - bins.start))
    for phase, part in enumerate(phases.chunk(2, 1)):
        begin = (phase - bins.start) % 2
        target, skip = y[..., begin::2], (begin + bins.start) // 2
        target.copy_(part[..., skip : skip + target.shape[3]])
    return y


def _gradients(
    ctx: Any, dy: Tensor, saved: tuple[Tensor, Tensor], is_transposed: bool, more: int, mask: list[bool]
) -> tuple[Any, ...]:
    x, weight = saved  # activation checkpointing lets a backward pass ask for them once only
    sizes = [weight.shape[1 if is_transposed else 0]] if ctx.has_bias else None
    grads: tuple[Any, ...] = torch.ops.aten.convolution_backward(
        dy, x, weight, sizes, _STRIDE, ctx.padding, _DILATION, is_transposed, (0, more), 1, mask
    )
    return grads


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair, more: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.more, ctx.has_bias = padding, more, bias is not None
        # Without data it may be a view, and PyTorch refuses to change a view of a Function in place.
        return _by_phases(x, weight, bias, padding, more).data

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return *_gradients(ctx, grads[0], ctx.saved_tensors, True, ctx.more, list(ctx.needs_input_grad[:3])), None, None


class _Strided(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.has_bias = padding, bias is not None
        return functional.conv2d(x, weight, bias, _STRIDE, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (dy,), (x, weight) = grads, ctx.saved_tensors
        by_x, *by_parameters = ctx.needs_input_grad[:3]
        kernel = tuple(weight.shape[2:])
        more = x.shape[3] - (2 * (dy.shape[3] - 1) + kernel[1] - 2 * ctx.padding[1])
        ours = by_x and fits(kernel, ctx.padding, more)
        dx, *others = _gradients(ctx, dy, (x, weight), False, 0, [by_x and not ours, *by_parameters])
        return transposed(dy, weight, None, ctx.padding, more) if ours else dx, *others, None
