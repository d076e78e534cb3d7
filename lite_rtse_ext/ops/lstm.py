"""One layer of an LSTM in one direction, for inference on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lite_rtse_ext import _native
from lite_rtse_ext.ops import _check, _register

_NO_BACKWARD = "lite_rtse_ext.ops.lstm has no backward: train with torch.nn.LSTM, which lite_rtse_ext.nn.LSTM does"


def lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    state: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """An LSTM over whole sequences, as ``torch.nn.LSTM(batch_first=True)`` of one layer computes it. Not for training:
    a backward pass through it raises.

        i, f, g, o = W_ih x + b_ih + W_hh h + b_hh
        c = σ(f) c + σ(i) tanh(g),   h = σ(o) tanh(c)

    Args:
        x: (batch, frames, inputs), float32, on the CPU; at least one frame.
        weight_ih: (4 units, inputs), gates in the order i, f, g, o.
        weight_hh: (4 units, units).
        bias_ih, bias_hh: (4 units,), or None.
        state: h and c before the first frame, (batch, units) each; None: zeros.

    Returns:
        h at every frame, (batch, frames, units), and the state (h, c) after the last, (batch, units) each.

    Raises:
        RuntimeError: an argument's shape, dtype or device does not fit (the message names it), or the compiled
            operators are missing.
    """
    _native.require()
    _check.tensor("x", x)
    _check_cpu(x)
    h0, c0 = (None, None) if state is None else state
    y, h, c = torch.ops.lite_rtse.lstm(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0)
    return y, (h, c)


def _check_cpu(x: Tensor) -> None:
    if x.is_cuda:
        raise RuntimeError(f"x is on {x.device}, but lstm runs on the CPU only: use torch.nn.LSTM there")


def _fake(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    if x.dtype != torch.float32:
        raise RuntimeError(f"x has dtype {x.dtype}, must be float32")
    _check.shape("x", x, (None, None, None), "(batch, frames, inputs)")
    if x.shape[1] == 0:
        raise RuntimeError(f"x has shape {tuple(x.shape)}, must have at least one frame")
    _check.shape("weight_hh", weight_hh, (None, None), "(4 units, units)")
    batch, frames, inputs = x.shape
    units = weight_hh.shape[1]
    if units == 0:
        raise RuntimeError(f"weight_hh has shape {tuple(weight_hh.shape)}, must have at least one unit")
    expected = (
        ("weight_hh", weight_hh, (4 * units, units), "(4 units, units)"),
        ("weight_ih", weight_ih, (4 * units, inputs), "(4 units, inputs of x)"),
        ("bias_ih", bias_ih, (4 * units,), "(4 units)"),
        ("bias_hh", bias_hh, (4 * units,), "(4 units)"),
        ("h0", h0, (batch, units), "(batch of x, units)"),
        ("c0", c0, (batch, units), "(batch of x, units)"),
    )
    for name, tensor, size, meaning in expected:
        if tensor is not None:
            _check.like(name, tensor, "x", x)
            _check.shape(name, tensor, size, meaning)
    return x.new_empty(batch, frames, units), x.new_empty(batch, units), x.new_empty(batch, units)


def _setup(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, ...]) -> None:
    """Nothing is kept for a backward pass that there is not."""


def _backward(ctx: Any, *grads: Tensor) -> tuple[None, ...]:
    raise RuntimeError(_NO_BACKWARD)


if _native.available():
    torch.library.register_fake("lite_rtse::lstm", _fake)
    torch.library.register_autograd("lite_rtse::lstm", _backward, setup_context=_setup)
    _register.autocast("lstm", _register.full_precision)
    _register.vmap("lstm", batched=0)
