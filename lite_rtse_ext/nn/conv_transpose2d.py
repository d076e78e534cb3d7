"""Transposed convolutions: on the operator ``causal_dwconv2d``, or as ordinary convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext import ops
from lite_rtse_ext.nn import phases
from lite_rtse_ext.ops._check import DTYPES
from lite_rtse_ext.utils.fallback import say_fallback
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere, is_recorded


class ConvTranspose2d(NotScriptable, nn.ConvTranspose2d):
    """``torch.nn.ConvTranspose2d`` that computes some as other convolutions.

    A depthwise one with an odd kernel and stride 1 runs the operator ``causal_dwconv2d``, in training and inference: it
    is a causal convolution with the kernel reversed. On the CPU, one of a single group with stride 2 over bins is
    computed as an ordinary convolution, in training and inference. There any other one with stride 1 is computed so
    where no gradient is needed. PyTorch has faster kernels for ordinary convolutions. In float32 the others on the CPU
    add their bias after PyTorch's convolution, since oneDNN, which computes it, is slow in adding one.

    In all other cases the module computes as ``torch.nn.ConvTranspose2d``. On CUDA a
    :class:`~lite_rtse_ext.utils.fallback.FallbackWarning` says so once.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is None and _runs(self, input):
            if is_depthwise(self):
                return _causal(self, input)
            needs = _needs_gradient(self, input)
            if becomes_convolution(self) and (not needs or (self.stride[1] == 2 and phases.differentiates())):
                return _by_phases(self, input) if self.stride[1] == 2 else _reversed(self, input)
            if self.bias is not None and _by_onednn(input):
                return _with_bias_after(self, input, self.bias)
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
    if conv.groups > 1:  # PyTorch's ordinary convolution is slower there
        return False
    same_frames = conv.stride == (1, 2) and conv.dilation == (1, 1) and conv.output_padding[0] == 0
    return same_frames and phases.fits(conv.kernel_size, _padding(conv), conv.output_padding[1])  # type: ignore[arg-type]


def _runs(conv: nn.ConvTranspose2d, x: Any) -> bool:
    if is_for_elsewhere() or not isinstance(x, Tensor) or x.dim() != 4 or x.shape[1] != conv.in_channels:
        return False
    if x.is_cuda and not (ops.has_cuda() and is_depthwise(conv)):
        say_fallback("ConvTranspose2d computes as torch.nn.ConvTranspose2d: on CUDA cuDNN computes it")
        return False
    tensors = (x, conv.weight) if conv.bias is None else (x, conv.weight, conv.bias)
    same = all(t.device == x.device and t.dtype == x.dtype and t.layout == torch.strided for t in tensors)
    supported = x.device.type in ("cpu", "cuda") and x.dtype in DTYPES and (is_recorded() or _has_output(conv, x))
    return same and supported and not torch.is_autocast_enabled(x.device.type) and ops.available()


def _has_output(conv: nn.ConvTranspose2d, x: Tensor) -> bool:
    """Whether the result has a value. If it has none, PyTorch raises the error."""
    sizes = zip(
        x.shape[2:], conv.kernel_size, conv.stride, _padding(conv), conv.dilation, conv.output_padding, strict=True
    )
    return all(
        size > 0 and (size - 1) * stride + (taps - 1) * dilation + more >= 2 * padding
        for size, taps, stride, padding, dilation, more in sizes
    )


def _needs_gradient(conv: nn.ConvTranspose2d, x: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in (x, *conv.parameters()))


def _causal(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    dilation, padding = conv.dilation[0], int(conv.padding[0])
    after = (conv.kernel_size[0] - 1) * dilation - padding
    x = functional.pad(x, (0, 0, 0, after)) if after else x
    y = ops.causal_dwconv2d(x, conv.weight.flip(2, 3), conv.bias, dilation)
    return y[:, :, padding:].contiguous()  # the code that follows may call view, as on the result of PyTorch's


def _by_onednn(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and not is_recorded()


def _with_bias_after(conv: nn.ConvTranspose2d, x: Tensor, bias: Tensor) -> Tensor:
    """The module's own convolution. oneDNN takes three times as long if it has to add the bias."""
    padding, more = _padding(conv), conv.output_padding
    y = functional.conv_transpose2d(x, conv.weight, None, conv.stride, padding, more, conv.groups, conv.dilation)  # type: ignore[arg-type]
    return y.add_(bias.view(-1, 1, 1))


def _padding(conv: nn.ConvTranspose2d) -> tuple[int, int]:
    return int(conv.padding[0]), int(conv.padding[1])


def _by_phases(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    return phases.transposed(x, conv.weight, conv.bias, _padding(conv), conv.output_padding[1])


def _outer_padding(conv: nn.ConvTranspose2d) -> tuple[int, int]:
    """The padding of the ordinary convolution with stride 1 that computes the same."""
    (kt, kf), (over_frames, over_bins) = conv.kernel_size, conv.dilation
    return (kt - 1) * over_frames - int(conv.padding[0]), (kf - 1) * over_bins - int(conv.padding[1])


def _reversed(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Stride 1: a convolution with the kernel reversed and the channels of each group exchanged."""
    if conv.groups == 1 and conv.kernel_size == (1, 1):
        return functional.conv2d(x, conv.weight.transpose(0, 1), conv.bias, 1, _outer_padding(conv))
    weight = torch.unflatten(conv.weight, 0, (conv.groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3)
    return functional.conv2d(x, weight, conv.bias, 1, _outer_padding(conv), conv.dilation, conv.groups)
