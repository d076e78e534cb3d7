"""Linear layers, as convolutions of oneDNN."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

from lite_rtse_ext.nn.tensors import are_float32_on_cpu
from lite_rtse_ext.utils.hooks import has_hooks
from lite_rtse_ext.utils.tracing import NotScriptable, is_recorded

LEAST_WEIGHTS = 64 * 64
"""A layer with fewer weights computes as ``torch.nn.Linear``."""

_LEAST_PRODUCTS = 1 << 23  # multiply-adds of a call, below which the convolution is not faster


class Linear(NotScriptable, nn.Linear):
    """``torch.nn.Linear`` that is faster on the CPU, in training and inference.

    PyTorch multiplies float32 matrices on x86 by MKL. On AMD's processors oneDNN, which PyTorch contains too, is
    faster: on a Zen 5 it takes less than half the time. There the module computes the output and the gradient of its
    input by oneDNN if there are enough rows. In all other cases it computes as ``torch.nn.Linear``.

    State-dict keys are those of ``torch.nn.Linear``.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _fused(self, input) if _runs(self, input) else nn.Linear.forward(self, input)


def run_linear(module: nn.Linear, input: Tensor) -> Tensor:
    """``module(input)``, computed by oneDNN in the cases in which :class:`Linear` uses it.

    This function serves networks that hold PyTorch's own linear layer. Tools such as ``quantize_dynamic`` recognize
    only that class. A module of another class, or with hooks, is called directly.
    """
    plain = type(module) is nn.Linear and not has_hooks(module)
    y: Tensor = _fused(module, input) if plain and _runs(module, input) else module(input)
    return y


def _fused(module: nn.Linear, input: Tensor) -> Tensor:
    if torch.is_grad_enabled() and any(t.requires_grad for t in (input, *module.parameters())):
        y: Tensor = _Product.apply(input, module.weight, module.bias)  # type: ignore[no-untyped-call]
        return y
    return _by_convolution(input, module.weight, module.bias)


class _Product(torch.autograd.Function):
    """The layer with a backward pass that uses oneDNN for the input's gradient. MKL is faster for the weights'."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _by_convolution(x, weight, bias).data  # no view: PyTorch refuses to change one of a Function in place

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = dy.flatten(0, -2)
        return (
            _by_convolution(dy, weight.t().contiguous(), None) if of_x else None,
            rows.t() @ x.flatten(0, -2) if of_weight else None,
            rows.sum(0) if of_bias else None,
        )


def _by_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Rows become bins of one frame. Numbers of a row become channels, which stay together in memory.

    With stride 1, PyTorch would compute a 1x1 convolution by MKL in one thread. The stride has no effect on one frame.
    """
    bins = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)
    y = functional.conv2d(bins, weight[:, :, None, None], bias, stride=(2, 1))
    return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))


def _runs(layer: nn.Linear, x: Any) -> bool:
    """Whether oneDNN computes this call. It does not for wrong tensors, so PyTorch raises the error."""
    if not isinstance(x, Tensor) or x.dim() < 2 or x.shape[-1] != layer.in_features:
        return False
    if is_recorded() or torch.is_autocast_enabled("cpu"):  # a recorded graph must not depend on the size
        return False
    if x.numel() * layer.out_features < _LEAST_PRODUCTS or layer.weight.numel() < LEAST_WEIGHTS:
        return False
    tensors = (x, *layer.parameters())
    fit = are_float32_on_cpu(tensors)
    return fit and _is_amd() and _has_both_libraries() and not any(map(_has_tangent, tensors))


def _has_tangent(t: Tensor) -> bool:
    """Whether forward-mode differentiation is going on."""
    return forward_ad.unpack_dual(t).tangent is not None  # type: ignore[no-untyped-call]


@cache
def _is_amd() -> bool:
    """Whether this is an AMD processor. No other one was measured, and MKL is made for Intel's."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        return False


def _has_both_libraries() -> bool:
    onednn = torch.backends.mkldnn
    available = torch.backends.mkl.is_available() and onednn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and onednn.enabled)
