"""Every operator as a function in plain PyTorch. These functions define what the fused operators compute."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "causal_dwconv2d",
    "causal_padding",
    "complex_gain",
    "compressed",
    "conv_block",
    "gate_channels",
    "gru",
    "lstm",
    "magnitude",
    "mask_residual",
    "multi_order_conv",
]


_COMPRESSION_FLOOR = 1e-8  # as in csrc/stream/network.h


def causal_padding(kernel_size: Sequence[int]) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) zeros that make a (time, frequency) kernel causal and keep the plane's size.

    All kt - 1 rows of zeros precede t = 0, and none follow the last frame. A window of kt rows that ends at row t then
    contains no later frame. Causality does not concern frequency. (kf - 1) / 2 columns of zeros are put on either side,
    so kf must be odd.
    """
    kt, kf = kernel_size
    return (kf // 2, kf // 2, kt - 1, 0)


def gate_channels(channels: int, order: int) -> list[int]:
    """Channels of each gate of the Multi-Order block: g_k = channels / 2^(order - 1 - k) for k = 0 ... order - 2."""
    return [channels >> (order - 1 - k) for k in range(order - 1)]


def _causal_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # The weight determines the groups: (C, 1, kt, kf) is depthwise, (C, C, kt, kf) is full.
    groups = x.shape[1] // weight.shape[1]
    return functional.conv2d(functional.pad(x, causal_padding(weight.shape[2:])), weight, bias, groups=groups)


def causal_dwconv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Causal depthwise convolution over time and frequency. Each channel has its own kernel.

    ``y[b,c,t,f] = bias[c] + sum_ij weight[c,0,i,j] · x[b, c, t - (kt-1) + i, f - (kf-1)/2 + j]``

    x is 0 outside the plane.

    Args:
        x: features (B, C, T, F).
        weight: (C, 1, kt, kf), kt and kf odd.
        bias: (C,) or None.

    Returns:
        Features (B, C, T, F).
    """
    return _causal_conv2d(x, weight, bias)


def conv_block(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """Conv-Block: ``(1×1 → causal 3×3 → 1×1)(x) · (1×1 skip)(x)``, without activation and normalization.

    The output of the first 1×1 is padded with zeros for the 3×3. Outside the plane it is therefore 0, not the bias.

    Args:
        x: features (B, Cin, T, F).
        weights: [in (C, Cin, 1, 1), 3×3 (C, 1, 3, 3) depthwise or (C, C, 3, 3) full, out (C, C, 1, 1),
            skip (C, Cin, 1, 1)].
        biases: four tensors (C,), in the same order.

    Returns:
        Features (B, C, T, F).
    """
    w_in, w_causal, w_out, w_skip = weights
    b_in, b_causal, b_out, b_skip = biases
    h = functional.conv2d(x, w_in, b_in)
    h = _causal_conv2d(h, w_causal, b_causal)
    return functional.conv2d(h, w_out, b_out) * functional.conv2d(x, w_skip, b_skip)


def multi_order_conv(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """Multi-Order block: a cascade of causal depthwise convolutions whose channels gate one another n times.

    ::

        h = W_in x + b_in                                  1×1, Cin → 2C
        d_0, p_0 = h[: 2C - g_0], h[2C - g_0 :]
        u_k = causal depthwise convolution of d_k          D_k = 2C - g_k channels
        d_{k+1}, gate_k = u_k[: -g_k], u_k[-g_k :]
        p_{k+1} = A_k (p_k · gate_k) + a_k                 1×1, g_k → 2 g_k
        y = W_out (d_{n-1} · p_{n-1}) + b_out              1×1, C → Cout

    The gates double from stage to stage: g_{k+1} = 2 g_k (:func:`gate_channels`). Therefore
    2C - g_0 - (g_0 + ... + g_{k-1}) = 2C - g_k channels enter stage k. After the last stage d and p both have C
    channels. Each of the n - 1 stages gates once, and the last line gates once more. These are n products, so without
    biases y has degree n + 1 in x.

    Args:
        x: features (B, Cin, T, F).
        weights: 2n tensors: [in (2C, Cin, 1, 1), depthwise_0 ... depthwise_{n-2} (D_k, 1, k, k),
            pointwise_0 ... pointwise_{n-2} (2 g_k, g_k, 1, 1), out (Cout, C, 1, 1)].
        biases: 2n tensors, in the same order.

    Returns:
        Features (B, Cout, T, F).
    """
    stages = len(weights) // 2 - 1
    depthwise = list(zip(weights[1 : 1 + stages], biases[1 : 1 + stages], strict=True))
    pointwise = list(zip(weights[1 + stages : -1], biases[1 + stages : -1], strict=True))
    h = functional.conv2d(x, weights[0], biases[0])
    d_channels = depthwise[0][0].shape[0]
    d, p = h[:, :d_channels], h[:, d_channels:]
    for (w_depthwise, b_depthwise), (w_pointwise, b_pointwise) in zip(depthwise, pointwise, strict=True):
        u = causal_dwconv2d(d, w_depthwise, b_depthwise)
        gates = p.shape[1]
        d, gate = u[:, :-gates], u[:, -gates:]
        p = functional.conv2d(p * gate, w_pointwise, b_pointwise)
    return functional.conv2d(d * p, weights[-1], biases[-1])


def _parts(spectrogram: Tensor) -> Tensor:
    """The spectrogram as (B, F, T, 2), from either layout."""
    return torch.view_as_real(spectrogram.resolve_conj()) if spectrogram.is_complex() else spectrogram


def _real_imag(spectrogram: Tensor) -> tuple[Tensor, Tensor]:
    real, imag = _parts(spectrogram).transpose(1, 2).unbind(-1)
    return real, imag


def mask_residual(
    spectrogram: Tensor, mask_logit: Tensor, res_mag: Tensor, res_real: Tensor, res_imag: Tensor
) -> Tensor:
    """Reconstruction "masking + residual" as published. Magnitude and phase are corrected separately.

    With m = \\|X\\|, M = sigmoid(logit) and Y1 = m · M, the magnitude is ``R_mag · (m - Y1) + Y1``. This is the masked
    magnitude plus the fraction R_mag of what the mask removed. The phase is ``arg X + arg(R_re + i R_im)``.

    The square root makes the gradient with respect to X infinite where X = 0. It appears as NaN. The fused operator
    does not have this problem: \\|X\\| cancels, and the result is X times the complex gain
    ``(R_mag (1 - M) + M) · R/|R|``.

    Args:
        spectrogram: X, (B, F, T, 2) or complex (B, F, T).
        mask_logit: the mask before its sigmoid, (B, T, F).
        res_mag: residual magnitude R_mag, (B, T, F).
        res_real: R_re, the real part of R, whose direction is the residual phase, (B, T, F).
        res_imag: R_im, the imaginary part of R, (B, T, F).

    Returns:
        The enhanced spectrogram in the layout of ``spectrogram``.
    """
    real, imag = _real_imag(spectrogram)
    mag = (real.square() + imag.square()).sqrt()
    masked = mag * torch.sigmoid(mask_logit)
    out_mag = res_mag * (mag - masked) + masked
    phase = torch.atan2(imag, real) + torch.atan2(res_imag, res_real)
    parts = torch.stack([out_mag * phase.cos(), out_mag * phase.sin()], dim=-1).transpose(1, 2)
    return torch.view_as_complex(parts.contiguous()) if spectrogram.is_complex() else parts


def magnitude(spectrogram: Tensor) -> Tensor:
    """Magnitude \\|X\\| of a spectrogram as the network reads it.

    It is computed as a norm and not as a square root of squares. The derivative of the norm where X = 0 is 0 and not
    NaN, so training on silence is possible.

    Args:
        spectrogram: (B, F, T, 2) or complex (B, F, T).

    Returns:
        The magnitude, (B, T, F).
    """
    norm: Tensor = torch.linalg.vector_norm(_parts(spectrogram), dim=-1)
    return norm.transpose(1, 2).contiguous()


def compressed(magnitude: Tensor, exponent: float) -> Tensor:
    """Compress magnitudes: (m² + 1e-8)^(exponent / 2), computed at least in float32.

    The constant keeps the derivative finite at m = 0. It is 80 dB below the magnitude 1.

    Args:
        magnitude: of any shape, not negative.
        exponent: above 0. With 1 the magnitudes are returned as they are.

    Returns:
        The compressed magnitudes, in the dtype of ``magnitude``.
    """
    if exponent == 1:
        return magnitude
    wide = magnitude.to(torch.promote_types(magnitude.dtype, torch.float32))
    # (100 m)² + 1e-4, and not m² + 1e-8: an export to ONNX drops the addition of a constant up to 1e-8.
    power = (100 * wide).square() + 1e4 * _COMPRESSION_FLOOR
    result: Tensor = power.pow(exponent / 2) * 100**-exponent
    return result.to(magnitude.dtype)


def complex_gain(
    spectrogram: Tensor, mask_logit: Tensor, res_mag: Tensor, res_real: Tensor, res_imag: Tensor
) -> Tensor:
    """The formula of the fused operator ``mask_residual`` in plain PyTorch: the complex gain times the spectrogram.

    Unlike the magnitude-and-phase form of :func:`mask_residual` it can be differentiated on digital silence. R is first
    divided by its larger part, so that no square overflows or underflows. This does not change R/|R| or its
    derivatives.

    Args:
        spectrogram: (B, F, T, 2).
        mask_logit, res_mag, res_real, res_imag: (B, T, F), as in :func:`mask_residual`.

    Returns:
        The enhanced spectrogram, (B, F, T, 2).
    """
    mask = torch.sigmoid(mask_logit)
    zero = (res_real == 0) & (res_imag == 0)
    size = torch.where(zero, 1, torch.maximum(res_real.abs(), res_imag.abs())).detach()
    real, imag = torch.where(zero, 1, res_real / size), torch.where(zero, 0, res_imag / size)
    amount = (res_mag * (1 - mask) + mask) / (real.square() + imag.square()).sqrt()
    real, imag = ((part * amount).transpose(1, 2) for part in (real, imag))
    x_real, x_imag = spectrogram.unbind(-1)
    return torch.stack([real * x_real - imag * x_imag, real * x_imag + imag * x_real], -1)


def lstm(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, h: Tensor, c: Tensor) -> Tensor:
    """The formula of the fused operator ``lstm`` in plain PyTorch. It serves for second derivatives.

    Args:
        x: (batch, frames, inputs).
        weight_ih: (4 units, inputs), with the gates in the order i, f, g, o.
        weight_hh: (4 units, units).
        bias: b_ih + b_hh, (4 units,).
        h, c: the state before the first frame, (batch, units) each.

    Returns:
        y, (batch, frames + 2, units): h at every frame, then the last h and the last c as two more frames.
    """
    found = []
    for fixed in (x @ weight_ih.t() + bias).unbind(1):
        i, f, g, o = (fixed + h @ weight_hh.t()).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        found.append(h)
    return torch.stack([*found, h, c], 1)


def gru(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], state: Tensor | None = None) -> Tensor:
    """The formula of the fused operator ``gru`` in plain PyTorch. It serves for second derivatives.

    Args:
        x: (batch, frames, inputs).
        weights: for each direction W_ih (3 units, inputs) and W_hh (3 units, units), with the gates in the order
            r, z, n. The second direction begins at the last frame.
        biases: for each direction b_ih and b_hh (3 units,), or none.
        state: h before the first frame, (directions, batch, units). None stands for zeros.

    Returns:
        h at every frame, (batch, frames, directions · units).
    """
    found = []
    for d in range(len(weights) // 2):
        w_ih, w_hh = weights[2 * d : 2 * d + 2]
        b_ih, b_hh = biases[2 * d : 2 * d + 2] if biases else (None, None)
        h = x.new_zeros(len(x), w_hh.shape[1]) if state is None else state[d]
        frames, outputs = functional.linear(x, w_ih, b_ih).unbind(1), []
        for fixed in frames[::-1] if d else frames:
            r_x, z_x, n_x = fixed.chunk(3, 1)
            r_h, z_h, n_h = functional.linear(h, w_hh, b_hh).chunk(3, 1)
            z = torch.sigmoid(z_x + z_h)
            n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
            h = n + z * (h - n)
            outputs.append(h)
        found.append(torch.stack(outputs[::-1] if d else outputs, 1))
    return torch.cat(found, 2)
