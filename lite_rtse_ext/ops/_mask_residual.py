"""Masking plus residual: the reconstruction of the enhanced spectrogram."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.ops import _check, _native, _register


def mask_residual(
    spectrogram: Tensor, mask_logit: Tensor, res_mag: Tensor, res_real: Tensor, res_imag: Tensor
) -> Tensor:
    """Masked magnitude plus residual magnitude, with the residual's phase added to the input's phase.

    With m = |X|, M = sigmoid(mask_logit) and R = res_real + i·res_imag:

        magnitude = res_mag · (m − m M) + m M,   phase = arg X + arg R

    The operator computes this as one complex gain, S = (res_mag (1 − M) + M) · R/|R| · X. The gain needs neither angles
    nor |X|, so the gradients are finite on digital silence. Where R = 0, its phase is 0 with derivative 0.

    Args:
        spectrogram: X, (batch, bins, frames, 2) with real and imaginary part, or complex (batch, bins, frames), with
            any strides. Its parts are float64, float32, float16 or bfloat16.
        mask_logit: the mask before its sigmoid, (batch, frames, bins), of the dtype of the spectrogram's parts.
        res_mag, res_real, res_imag: (batch, frames, bins), of the same dtype.

    Returns:
        The enhanced spectrogram, in the layout, dtype and memory order of ``spectrogram``.

    Raises:
        TypeError: ``spectrogram`` is not a tensor.
        RuntimeError: an argument has a wrong shape, dtype or device (the message names the argument), or the compiled
            operators are missing.
    """
    _native.require()
    _check.tensor("spectrogram", spectrogram)
    features = (mask_logit, res_mag, res_real, res_imag)
    is_complex = spectrogram.is_complex()
    parts = torch.view_as_real(spectrogram.resolve_conj()) if is_complex else spectrogram
    result: Tensor = _register.run(torch.ops.lite_rtse.mask_residual, parts, *features)
    return torch.view_as_complex(result) if is_complex else result


def _fake(spectrogram: Tensor, *features: Tensor) -> Tensor:
    _check.dtype("spectrogram", spectrogram)
    _check.shape("spectrogram", spectrogram, (None, None, None, 2), "(batch, bins, frames, real and imaginary part)")
    batch, bins, frames, _ = spectrogram.shape
    for name, feature in zip(("mask_logit", "res_mag", "res_real", "res_imag"), features, strict=True):
        _check.like(name, feature, "spectrogram", spectrogram)
        _check.shape(name, feature, (batch, frames, bins), "(batch, frames, bins) of spectrogram")
    return torch.empty_like(spectrogram)


def _fake_backward(
    dy: Tensor,
    spectrogram: Tensor,
    mask_logit: Tensor,
    res_mag: Tensor,
    res_real: Tensor,
    res_imag: Tensor,
    input: bool,
    features: bool,
) -> tuple[Tensor, ...]:
    dx = torch.empty_like(spectrogram) if input else dy.new_empty(0)
    return dx, *(f.new_empty(f.shape if features else (0,)) for f in (mask_logit, res_mag, res_real, res_imag))


def _asked(input: bool, features: bool) -> tuple[bool, ...]:
    return input, *[features] * 4


def _setup(ctx: Any, inputs: tuple[Tensor, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """Compute only the gradients that are needed: that of the spectrogram, and those of all features together."""
    needs = ctx.needs_input_grad
    grads = torch.ops.lite_rtse.mask_residual_backward(dy, *ctx.saved_tensors, needs[0], any(needs[1:]))
    return _register.if_asked(grads, needs)


def _plain_backward(dy: Tensor, *values: Any) -> tuple[Tensor, ...]:
    inputs, flags = values[:5], values[5:]
    return _register.first_order(reference.complex_gain, inputs, dy, _asked(*flags))


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, input, features = inputs
    ctx.asked = _asked(input, features)
    ctx.save_for_backward(*tensors)


def _second(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    dy, *inputs = ctx.saved_tensors
    return *_register.second_order(reference.complex_gain, inputs, dy, grads, ctx.asked), None, None


def _flops(*shapes: Any, **_: Any) -> int:
    """Zero operations: PyTorch counts matrix products and convolutions only."""
    return 0


if _native.available():
    _register.operator("mask_residual", _fake, reference.complex_gain, _setup, _backward, _flops)
    _register.operator("mask_residual_backward", _fake_backward, _plain_backward, _setup_second, _second, _flops)
    _register.autocast("mask_residual", _register.full_precision)
    _register.vmap("mask_residual")
    _register.vmap("mask_residual_backward", batched=6)
