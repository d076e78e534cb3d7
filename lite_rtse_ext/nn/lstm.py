"""Module of the operator ``lstm``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lite_rtse_ext import ops
from lite_rtse_ext.nn.recurrent import CUDNN, chosen_on_cuda, directions, parameters
from lite_rtse_ext.ops._lstm import autocast_type, lstm_fits, lstm_type_names, lstm_types
from lite_rtse_ext.utils.fallback import say_fallback
from lite_rtse_ext.utils.hooks import has_hooks
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere

State = tuple[Tensor, Tensor]

CHOICE = "LITE_RTSE_LSTM"
PERSISTENT = "persistent"
"""The environment variable that says what computes an LSTM on CUDA, and its value for the operator."""


class LSTM(NotScriptable, nn.LSTM):
    """``torch.nn.LSTM`` that runs the operator ``lstm`` on the CPU, in training and inference.

    The operator runs for any number of layers and units, one or both directions, and either order of the dimensions. It
    needs float32, no projection, no dropout between layers in training, a batch of sequences as a dense tensor, and no
    autocast. In all other cases the module computes as ``torch.nn.LSTM``, for example in an export to ONNX.
    ``torch.nn.LSTM`` also raises all errors. Under autocast it raises some of its own: in float16 on most processors,
    and in bfloat16 on those without AVX-512. There the operator computes in float32.

    On CUDA the module computes as ``torch.nn.LSTM``, by cuDNN. With the environment variable
    ``LITE_RTSE_LSTM=persistent`` it runs the operator there, too, also in float16 and bfloat16 and under autocast. It
    then says once why, if it cannot.

    State-dict keys are those of ``torch.nn.LSTM``.
    """

    def forward(self, input: Any, hx: State | None = None) -> Any:
        return _fused(self, input, hx) if _runs(self, input, hx) else nn.LSTM.forward(self, input, hx)


def run_lstm(module: nn.LSTM, input: Any, hx: State | None = None) -> Any:
    """``module(input, hx)``, computed by the operator in the cases in which :class:`LSTM` uses it.

    This function serves networks that hold PyTorch's own LSTM. Tools such as ``quantize_dynamic`` recognize only that
    class. A module of another class, or with hooks, is called directly.
    """
    plain = type(module) is nn.LSTM and not has_hooks(module)
    return _fused(module, input, hx) if plain and _runs(module, input, hx) else module(input, hx)


def _fused(module: nn.LSTM, input: Tensor, hx: State | None) -> tuple[Tensor, State]:
    y, last = input if module.batch_first else input.transpose(0, 1), []
    for layer in range(module.num_layers):
        found = []
        for d in range(directions(module)):
            index = layer * directions(module) + d
            state = None if hx is None else (hx[0][index], hx[1][index])
            (w_ih, w_hh), biases = parameters(module, layer, d)
            b_ih, b_hh = biases or (None, None)
            out, (h, c) = ops.lstm(y, w_ih, w_hh, b_ih, b_hh, state, reverse=d == 1)
            found.append(out)
            last.append((h, c))
        y = found[0] if len(found) == 1 else torch.cat(found, 2)
    y = y if module.batch_first else y.transpose(0, 1).contiguous()
    if len(last) == 1:
        return y, (last[0][0].unsqueeze(0), last[0][1].unsqueeze(0))
    return y, (torch.stack([h for h, _ in last]), torch.stack([c for _, c in last]))


def fusible(module: nn.LSTM) -> bool:
    """Whether the operator can replace this module for any input."""
    return module.proj_size == 0


def _runs(module: nn.LSTM, x: Any, hx: Any) -> bool:
    """Whether the operator supports these tensors. It does not support wrong tensors, so PyTorch raises the error."""
    if not (fusible(module) and isinstance(x, Tensor)):
        return False
    if is_for_elsewhere() or not ops.available() or x.dim() != 3 or x.device.type not in ("cpu", "cuda"):
        return False
    if x.is_cuda and chosen_on_cuda(CHOICE, PERSISTENT) == CUDNN:
        return False
    if reason := _reason(module, x):
        if x.is_cuda:
            say_fallback(f"LSTM computes as torch.nn.LSTM: {reason}")
        return False
    state, layers = () if hx is None else tuple(hx), module.num_layers * directions(module)
    if not all(_plain(t, x) for t in (x, *module.parameters(), *state)):
        return False
    batch, frames = x.shape[:2] if module.batch_first else (x.shape[1], x.shape[0])
    sizes_fit = all(t.shape == (layers, batch, module.hidden_size) for t in state)
    return frames > 0 and x.shape[2] == module.input_size and sizes_fit


def _reason(module: nn.LSTM, x: Tensor) -> str:
    """Why the operator does not compute this call although its tensors may be right; empty if it does."""
    if _casts(x) and not x.is_cuda and _pytorch_has(torch.get_autocast_dtype("cpu")):
        return "the operator lstm has no autocast on the CPU"
    if module.training and module.dropout > 0 and module.num_layers > 1:
        return "the operator lstm has no dropout between layers"
    if x.dtype not in lstm_types(x.device.type):
        return f"the operator lstm takes {lstm_type_names(x.device.type)}, not {x.dtype}"
    if not x.is_cuda:
        return ""
    dtype = autocast_type("cuda") if _casts(x) else x.dtype
    if not _fits(dtype, module.hidden_size, x.device.index):
        return f"the operator lstm with {module.hidden_size} units of {dtype} does not fit on {x.device}"
    return ""


def _casts(x: Tensor) -> bool:
    """Whether autocast decides the type that an LSTM computes in."""
    return torch.is_autocast_enabled(x.device.type)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _pytorch_has(dtype: torch.dtype) -> bool:
    """Whether PyTorch's LSTM computes under autocast in this type on this CPU.

    Autocast casts what is given to oneDNN's LSTM, and PyTorch does not ask whether oneDNN has one in that type.
    """
    return dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _fits(dtype: torch.dtype, units: int, device: int) -> bool:
    return lstm_fits(dtype, units, device)


def _plain(t: Any, x: Tensor) -> bool:
    """Whether t is as x is. Autocast gives the tensors one type, of whichever of the kernels' types each is."""
    if not isinstance(t, Tensor) or t.device != x.device or t.layout != torch.strided:
        return False
    return t.dtype in lstm_types(x.device.type) if _casts(x) else t.dtype == x.dtype
