"""Module of the operator ``gru``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lite_rtse_ext import ops
from lite_rtse_ext.nn.recurrent import CUDNN, chosen_on_cuda, directions, parameters
from lite_rtse_ext.ops._check import DTYPES
from lite_rtse_ext.ops._gru import gru_fits
from lite_rtse_ext.utils.fallback import say_fallback
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere

CHOICE = "LITE_RTSE_GRU"
FUSED = "fused"
"""The environment variable that says what computes a GRU on CUDA, and its value for the operator."""


class GRU(NotScriptable, nn.GRU):
    """``torch.nn.GRU`` that runs the operator ``gru``, in training and inference.

    The operator runs for any number of layers and units, one or both directions, and either order of the dimensions.
    It needs a batch of sequences as a dense tensor, with the dtype of the parameters. In all other cases the module
    computes as ``torch.nn.GRU``. A :class:`~lite_rtse_ext.utils.fallback.FallbackWarning` then states the reason once:
    a packed sequence, dropout between layers in training, or on CUDA autocast, a build for the CPU, or too many units.
    ``torch.nn.GRU`` also raises all errors.

    On CUDA the operator runs if the environment variable ``LITE_RTSE_GRU`` is ``fused``. Its kernels have never run on
    a GPU, so the module computes as ``torch.nn.GRU`` there by default.

    State-dict keys are those of ``torch.nn.GRU``.
    """

    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        return _fused(self, input, hx) if _runs(self, input, hx) else nn.GRU.forward(self, input, hx)


def _fused(module: nn.GRU, input: Tensor, hx: Tensor | None) -> tuple[Tensor, Tensor]:
    count, last = directions(module), []
    y = input if module.batch_first else input.transpose(0, 1)
    for layer in range(module.num_layers):
        state = None if hx is None else hx[layer * count : (layer + 1) * count]
        y, h = ops.gru(y, *_parameters(module, layer), state=state)
        last.append(h)
    y = y if module.batch_first else y.transpose(0, 1).contiguous()
    return y, last[0] if len(last) == 1 else torch.cat(last)


def _parameters(module: nn.GRU, layer: int) -> tuple[list[Tensor], list[Tensor]]:
    """The weights and the biases of a layer, as the operator takes them."""
    each = [parameters(module, layer, d) for d in range(directions(module))]
    return [w for weights, _ in each for w in weights], [b for _, biases in each for b in biases]


def _runs(module: nn.GRU, x: Any, hx: Any) -> bool:
    """Whether the operator computes this call. If a case of its own prevents it, the reason is said."""
    if is_for_elsewhere() or not ops.available():
        return False
    if isinstance(x, Tensor) and x.is_cuda and chosen_on_cuda(CHOICE, FUSED) == CUDNN:
        return False
    reason = _reason(module, x)
    if reason:
        say_fallback(f"GRU computes as torch.nn.GRU: {reason}")
    return not reason and _are_right(module, x, hx)


def _reason(module: nn.GRU, x: Any) -> str:
    """Why the operator does not compute this call although its tensors may be right; empty if it does."""
    if isinstance(x, PackedSequence):
        return "the operator gru takes no packed sequence"
    if module.training and module.dropout > 0 and module.num_layers > 1:
        return "the operator gru has no dropout between layers"
    return _reason_on_cuda(module, x) if isinstance(x, Tensor) and x.is_cuda else ""


def _reason_on_cuda(module: nn.GRU, x: Tensor) -> str:
    if not ops.has_cuda():
        return "this build has no CUDA kernels, so cuDNN computes it"
    if torch.is_autocast_enabled("cuda"):
        return "the operator gru has no autocast on CUDA"
    if x.dtype in DTYPES and not _fits(x.dtype, module.hidden_size, directions(module), x.device.index):
        return f"the operator gru with {module.hidden_size} units does not fit on {x.device}, so cuDNN computes it"
    return ""


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _fits(dtype: torch.dtype, units: int, count: int, device: int) -> bool:
    return gru_fits(dtype, units, count, device)


def _are_right(module: nn.GRU, x: Any, hx: Any) -> bool:
    """Whether these tensors are right. For wrong ones PyTorch raises the error."""
    if not isinstance(x, Tensor) or x.dim() != 3:
        return False
    dtype = x.dtype
    if dtype not in DTYPES or x.device.type not in ("cpu", "cuda"):
        return False
    if not (_plain(x, x) and (hx is None or _plain(hx, x))):
        return False
    for name in module._flat_weights_names:  # torch.func.functional_call leaves _flat_weights as they were
        if not _plain(getattr(module, name), x):
            return False
    if dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(x.device.type):
        return False
    batch, frames = x.shape[:2] if module.batch_first else (x.shape[1], x.shape[0])
    state = (module.num_layers * directions(module), batch, module.hidden_size)
    return frames > 0 and x.shape[2] == module.input_size and (hx is None or hx.shape == state)


def _plain(t: Any, x: Tensor) -> bool:
    return isinstance(t, Tensor) and t.device == x.device and t.dtype == x.dtype and t.layout == torch.strided
