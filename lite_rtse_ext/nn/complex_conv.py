"""Complex convolutions by real ones. The channels of a tensor are the real parts first, then the imaginary parts.

A complex convolution has two real ones, R and I. With z = a + ib it computes (R + iI) z: the real part R(a) - I(b) and
the imaginary part R(b) + I(a). Both R and I add their bias, so that it is R's minus I's, and R's plus I's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext.utils.fallback import say_fallback
from lite_rtse_ext.utils.tracing import is_recorded

__all__ = ["complex_conv", "in_one", "in_three"]

Conv = nn.Conv2d | nn.ConvTranspose2d
_LEAST_CHANNELS = 16
"""Real parts of input and output from which three convolutions are faster than one. Below, sums take longer."""


def complex_conv(real: Conv, imag: Conv, x: Tensor, causal: bool = False) -> Tensor:
    """The complex convolution of two equal real ones, by the faster way.

    Args:
        real, imag: R and I. They have one group, pad with zeros and differ in their parameters only.
        x: (B, 2 · in_channels, height, width), in the dtype of the weights.
        causal: whether as many zeros precede ``x`` along its last axis as the kernel needs.

    Returns:
        (B, 2 · out_channels, height, width), in the same dtype, or in that of autocast.
    """
    if causal:
        x = functional.pad(x, ((real.kernel_size[1] - 1) * real.dilation[1], 0))
    return in_three(real, imag, x) if _runs(real, imag, x) else in_one(real, imag, x)


def in_one(real: Conv, imag: Conv, x: Tensor) -> Tensor:
    """One real convolution with the weight [[R, -I], [I, R]]. Its arguments are those of :func:`complex_conv`."""
    r, i = real.weight, imag.weight
    if isinstance(real, nn.ConvTranspose2d):  # its weight is (in_channels, out_channels, ...)
        i = -i
    weight = torch.cat([torch.cat([r, -i], 1), torch.cat([i, r], 1)])
    return _convolve(real, x, weight, _bias(real, imag))


def in_three(real: Conv, imag: Conv, x: Tensor) -> Tensor:
    """Three real convolutions, a quarter less arithmetic than four. Its arguments are those of :func:`complex_conv`.

    Here R and I are without their biases. With s = R(a + b), the real part is s - (R + I)(b), and the imaginary part is
    s + (I - R)(a).
    """
    a, b = x.chunk(2, 1)
    r, i = real.weight, imag.weight
    both = _convolve(real, a + b, r, None)
    y = torch.cat([both + _convolve(real, b, -(r + i), None), both + _convolve(real, a, i - r, None)], 1)
    bias = _bias(real, imag)
    return y if bias is None else y.add_(bias.view(-1, 1, 1))


def _runs(real: Conv, imag: Conv, x: Tensor) -> bool:
    if min(real.in_channels, real.out_channels) < _LEAST_CHANNELS or is_recorded():
        return False
    if x.is_cuda:
        say_fallback("a complex convolution is one real convolution: on CUDA three were not measured")
        return False
    # Half types would lose digits in the sums.
    same = all(t.dtype == x.dtype in (torch.float32, torch.float64) for t in (real.weight, imag.weight))
    return same and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def _bias(real: Conv, imag: Conv) -> Tensor | None:
    if real.bias is None or imag.bias is None:
        return None
    return torch.cat([real.bias - imag.bias, real.bias + imag.bias])


def _convolve(conv: Conv, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a convolution computes with another weight."""
    sizes = conv.stride, conv.padding
    if isinstance(conv, nn.ConvTranspose2d):
        more = conv.output_padding
        return functional.conv_transpose2d(x, weight, bias, *sizes, more, conv.groups, conv.dilation)  # type: ignore[arg-type]
    return functional.conv2d(x, weight, bias, *sizes, conv.dilation, conv.groups)  # type: ignore[arg-type]
