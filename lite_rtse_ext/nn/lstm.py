"""Module of the operator ``lstm``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lite_rtse_ext import ops
from lite_rtse_ext.utils.hooks import has_hooks
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere


class LSTM(NotScriptable, nn.LSTM):
    """``torch.nn.LSTM`` that runs the operator ``lstm`` on the CPU, in training and inference.

    The operator runs in the cases that it supports: float32 on the CPU, one layer, one direction, ``batch_first``, no
    projection, a dense (batch, frames, inputs) tensor, and no autocast. In all other cases the module computes as
    ``torch.nn.LSTM``, for example on CUDA and in an export to ONNX. ``torch.nn.LSTM`` also raises all errors. Dropout
    acts between layers, so a single layer has none.

    State-dict keys: ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``. With more layers or directions
    they are those of ``torch.nn.LSTM``.
    """

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> Any:
        return _fused(self, input, hx) if _runs(self, input, hx) else nn.LSTM.forward(self, input, hx)


def run_lstm(module: nn.LSTM, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> Any:
    """``module(input, hx)``, computed by the operator in the cases in which :class:`LSTM` uses it.

    This function serves networks that hold PyTorch's own LSTM. Tools such as ``quantize_dynamic`` recognize only that
    class. A module of another class, or with hooks, is called directly.
    """
    plain = type(module) is nn.LSTM and not has_hooks(module)
    return _fused(module, input, hx) if plain and _runs(module, input, hx) else module(input, hx)


def _fused(module: nn.LSTM, input: Tensor, hx: tuple[Tensor, Tensor] | None) -> Any:
    state = None if hx is None else (hx[0][0], hx[1][0])
    y, (h, c) = ops.lstm(input, *_parameters(module), state=state)
    return y, (h.unsqueeze(0), c.unsqueeze(0))


def fusible(module: nn.LSTM) -> bool:
    """Whether the operator can replace this module for any input."""
    one = module.num_layers == 1 and not module.bidirectional and module.proj_size == 0
    return one and module.batch_first


def _parameters(module: nn.LSTM) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    biases = (module.bias_ih_l0, module.bias_hh_l0) if module.bias else (None, None)
    return module.weight_ih_l0, module.weight_hh_l0, *biases


def _runs(module: nn.LSTM, x: Any, hx: Any) -> bool:
    """Whether the operator supports these tensors. It does not support wrong tensors, so PyTorch raises the error."""
    if not (fusible(module) and isinstance(x, Tensor)):
        return False
    if is_for_elsewhere() or not ops.available() or torch.is_autocast_enabled("cpu") or x.dim() != 3:
        return False
    state = () if hx is None else tuple(hx)
    tensors = [x, *(t for t in _parameters(module) if t is not None), *state]
    if not all(_plain(t) for t in tensors):
        return False
    batch, frames, inputs = x.shape
    sizes_fit = all(t.shape == (1, batch, module.hidden_size) for t in state)
    return frames > 0 and inputs == module.input_size and sizes_fit


def _plain(t: Any) -> bool:
    return isinstance(t, Tensor) and t.device.type == "cpu" and t.dtype == torch.float32 and t.layout == torch.strided
