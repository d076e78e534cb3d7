"""Transposed convolutions: on the operator ``causal_dwconv2d``, or as ordinary convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext import ops
from lite_rtse_ext.ops._check import DTYPES
from lite_rtse_ext.utils.fallback import say_fallback
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere


class ConvTranspose2d(NotScriptable, nn.ConvTranspose2d):
    """``torch.nn.ConvTranspose2d`` that computes some as other convolutions.

    A depthwise one with an odd kernel and stride 1 runs the operator ``causal_dwconv2d``, in training and inference: it
    is a causal convolution with the kernel reversed. On the CPU any other one with stride 1 over frames, and 1 or 2
    over bins, is computed as an ordinary convolution where no gradient is needed. PyTorch has faster kernels for these.

    In all other cases the module computes as ``torch.nn.ConvTranspose2d``. On CUDA a
    :class:`~lite_rtse_ext.utils.fallback.FallbackWarning` says so once.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is None and _runs(self, input):
            if is_depthwise(self):
                return _causal(self, input)
            if not _needs_gradient(self, input) and becomes_convolution(self):
                return _by_phases(self, input) if self.stride[1] == 2 else _reversed(self, input)
        return nn.ConvTranspose2d.forward(self, input, output_size)


def is_depthwise(conv: nn.ConvTranspose2d) -> bool:
    """Whether the operator ``causal_dwconv2d`` computes the same with the kernel reversed."""
    kt, kf = conv.kernel_size
    fits = conv.in_channels == conv.out_channels == conv.groups and kt % 2 == kf % 2 == 1
    plain = conv.stride == (1, 1) and conv.output_padding == (0, 0)
    same_bins = plain and conv.dilation[1] == 1 and conv.padding[1] == kf // 2
    return fits and same_bins and 0 <= int(conv.padding[0]) <= (kt - 1) * conv.dilation[0]


def becomes_convolution(conv: nn.ConvTranspose2d) -> bool:
    """Whether the functions below compute the same."""
    frames, bins = _outer_padding(conv)
    if conv.stride == (1, 1):
        return frames >= 0 and bins >= 0 and conv.output_padding == (0, 0)
    inside = conv.output_padding[1] <= int(conv.padding[1]) + conv.kernel_size[1] % 2
    return conv.stride == (1, 2) and conv.dilation == (1, 1) and conv.output_padding[0] == 0 and frames >= 0 and inside


def _runs(conv: nn.ConvTranspose2d, x: Any) -> bool:
    if is_for_elsewhere() or not isinstance(x, Tensor) or x.dim() != 4 or x.shape[1] != conv.in_channels:
        return False
    if x.is_cuda and not (ops.has_cuda() and is_depthwise(conv)):
        say_fallback("ConvTranspose2d computes as torch.nn.ConvTranspose2d: on CUDA cuDNN computes it")
        return False
    tensors = (x, conv.weight) if conv.bias is None else (x, conv.weight, conv.bias)
    same = all(t.device == x.device and t.dtype == x.dtype and t.layout == torch.strided for t in tensors)
    supported = x.device.type in ("cpu", "cuda") and x.dtype in DTYPES
    return same and supported and not torch.is_autocast_enabled(x.device.type) and ops.available()


def _needs_gradient(conv: nn.ConvTranspose2d, x: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in (x, *conv.parameters()))


def _causal(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    dilation, padding = conv.dilation[0], int(conv.padding[0])
    after = (conv.kernel_size[0] - 1) * dilation - padding
    x = functional.pad(x, (0, 0, 0, after)) if after else x
    return ops.causal_dwconv2d(x, conv.weight.flip(2, 3), conv.bias, dilation)[:, :, padding:]


def _outer_padding(conv: nn.ConvTranspose2d) -> tuple[int, int]:
    """The padding of the ordinary convolution with stride 1 that computes the same."""
    (kt, kf), (over_frames, over_bins) = conv.kernel_size, conv.dilation
    return (kt - 1) * over_frames - int(conv.padding[0]), (kf - 1) * over_bins - int(conv.padding[1])


def _reversed(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Stride 1: a convolution with the kernel reversed and the channels of each group exchanged."""
    weight = torch.unflatten(conv.weight, 0, (conv.groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3)
    return functional.conv2d(x, weight, conv.bias, 1, _outer_padding(conv), conv.dilation, conv.groups)


def _by_phases(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Stride 2 over bins: even bins depend on the even taps and odd bins on the odd taps.

    One convolution computes both as separate channels. The bins are then interleaved.
    """
    kt, kf = conv.kernel_size
    taps = -(-kf // 2)  # of the even bins. The odd bins have as many, of which the last may be zero.
    weight = torch.unflatten(functional.pad(conv.weight, (0, 2 * taps - kf)), 3, (taps, 2))
    weight = torch.unflatten(weight, 0, (conv.groups, -1)).permute(0, 2, 5, 1, 3, 4).flatten(0, 2).flip(2, 3)
    bias = None if conv.bias is None else conv.bias.repeat_interleave(2)
    y = functional.conv2d(x, weight, bias, 1, (kt - 1 - int(conv.padding[0]), taps - 1), 1, conv.groups)
    y = torch.unflatten(y, 1, (-1, 2)).movedim(2, -1).flatten(-2)
    first = int(conv.padding[1])
    bins = 2 * (x.shape[3] - 1) + kf + conv.output_padding[1] - 2 * first
    return y[..., first : first + bins]
