"""Large convolutions of single frames, on oneDNN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lite_rtse_ext.utils.fallback import say_fallback
from lite_rtse_ext.utils.tracing import NotScriptable, is_recorded

_FEWEST = 1 << 15
"""The number of weights from which oneDNN's kernel is faster."""


class Conv1d(NotScriptable, nn.Conv1d):
    """``torch.nn.Conv1d`` that runs oneDNN's kernel in inference on the CPU: one tap, and at least 32768 weights.

    In one thread PyTorch selects another kernel for these, which takes 1.4 to 1.8 times as long. Its backward pass is
    the faster one, however. In all other cases the module computes as ``torch.nn.Conv1d``. On CUDA a
    :class:`~lite_rtse_ext.utils.fallback.FallbackWarning` says so once. State-dict keys are those of
    ``torch.nn.Conv1d``.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not _runs(self, input):
            return nn.Conv1d.forward(self, input)
        weight = self.weight.unsqueeze(3)
        y: Tensor = torch.mkldnn_convolution(  # type: ignore[attr-defined]
            input.unsqueeze(3), weight, self.bias, (0, 0), (1, 1), (1, 1), 1
        )
        return y.squeeze(3)


def is_large_pointwise(conv: nn.Conv1d) -> bool:
    """Whether the module ever computes otherwise than ``torch.nn.Conv1d``."""
    pointwise = conv.kernel_size == conv.stride == (1,) and conv.padding in ((0,), "valid", "same")
    return pointwise and conv.groups == 1 and conv.weight.numel() >= _FEWEST


def _runs(conv: nn.Conv1d, x: Any) -> bool:
    if not isinstance(x, Tensor) or x.dim() != 3 or x.numel() == 0 or x.shape[1] != conv.in_channels:
        return False
    if x.is_cuda:
        say_fallback("Conv1d computes as torch.nn.Conv1d: on CUDA cuDNN computes it")
        return False
    tensors = [x, conv.weight] if conv.bias is None else [x, conv.weight, conv.bias]
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return False
    if not all(t.is_cpu and t.dtype == torch.float32 and t.layout == torch.strided for t in tensors):
        return False
    if is_recorded() or torch.is_autocast_enabled("cpu") or not is_large_pointwise(conv):
        return False
    return bool(torch.backends.mkldnn.enabled) and torch._C._has_mkldnn
