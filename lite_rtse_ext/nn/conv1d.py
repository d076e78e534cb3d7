"""Module of the operator ``pointwise_conv``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lite_rtse_ext import ops
from lite_rtse_ext.nn.tensors import are_float32_on_cpu
from lite_rtse_ext.utils.fallback import say_fallback
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere

LEAST_WEIGHTS = 32 * 32
"""A layer with fewer weights computes as ``torch.nn.Conv1d``."""

_LEAST_PRODUCTS = 1 << 21  # multiply-adds of a call, below which the operator is not faster in training


class Conv1d(NotScriptable, nn.Conv1d):
    """``torch.nn.Conv1d`` that runs the operator ``pointwise_conv`` on the CPU, in training and inference.

    It does so with a kernel of one tap, stride 1, one group, at least 1024 weights and no padding. It needs a batch in
    float32 with enough points. In all other cases the module computes as ``torch.nn.Conv1d``, which also raises all
    errors. On CUDA a :class:`~lite_rtse_ext.utils.fallback.FallbackWarning` says so once.

    State-dict keys are those of ``torch.nn.Conv1d``.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not is_for_elsewhere() and is_pointwise(self) and _runs(self, input):
            return ops.pointwise_conv(input, self.weight.squeeze(2), self.bias)
        return nn.Conv1d.forward(self, input)


def is_pointwise(conv: nn.Conv1d) -> bool:
    """Whether the operator ever computes this convolution."""
    plain = conv.kernel_size == (1,) and conv.stride == (1,) and conv.groups == 1
    return plain and conv.padding in ((0,), "valid", "same") and conv.weight.numel() >= LEAST_WEIGHTS


def _runs(conv: nn.Conv1d, x: Any) -> bool:
    """Whether the operator computes this call. It does not for wrong tensors, so PyTorch raises the error."""
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[1] != conv.in_channels:
        return False
    if x.is_cuda:
        say_fallback("Conv1d computes as torch.nn.Conv1d: on CUDA cuDNN computes it")
        return False
    # A compiled graph must not depend on the size, so the size is not asked for there.
    if not torch.compiler.is_compiling() and x.numel() * conv.out_channels < _LEAST_PRODUCTS:
        return False
    tensors = (x, conv.weight) if conv.bias is None else (x, conv.weight, conv.bias)
    return are_float32_on_cpu(tensors) and not torch.is_autocast_enabled("cpu") and ops.available()
