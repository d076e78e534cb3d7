"""Convolutions with stride 2 over bins, with a faster gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lite_rtse_ext.nn import phases
from lite_rtse_ext.ops._check import DTYPES
from lite_rtse_ext.utils.fallback import say_fallback


def is_strided(conv: nn.Conv2d) -> bool:
    """Whether :func:`strided_conv2d` ever computes otherwise than the module."""
    plain = conv.groups == 1 and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return plain and conv.stride == (1, 2) and conv.dilation == (1, 1) and conv.kernel_size[1] > 1


def strided_conv2d(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution of a module, for which :func:`is_strided` is true. Its backward pass is faster on the CPU."""
    if not _runs(conv, x):
        return nn.Conv2d.forward(conv, x)
    padding = (int(conv.padding[0]), int(conv.padding[1]))
    return phases.strided(x, conv.weight, conv.bias, padding)


def _runs(conv: nn.Conv2d, x: Tensor) -> bool:
    if not (torch.is_grad_enabled() and isinstance(x, Tensor) and x.dim() == 4 and x.requires_grad):
        return False
    if x.is_cuda:
        say_fallback("Conv2d computes as torch.nn.Conv2d: on CUDA cuDNN computes it")
        return False
    same = x.device.type == "cpu" and x.dtype == conv.weight.dtype and x.dtype in DTYPES
    return same and not torch.is_autocast_enabled("cpu") and phases.differentiates()
