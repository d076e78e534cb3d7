"""Operations on spectrograms in plain PyTorch: features, and the reconstruction with its module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lite_rtse_ext.utils.dtypes import at_least_float32

__all__ = ["MaskResidual", "complex_gain", "compressed", "magnitude", "mask_residual"]

_COMPRESSION_FLOOR = 1e-8  # as in csrc/stream/network.h


def _parts(spectrogram: Tensor) -> Tensor:
    """The spectrogram as (B, F, T, 2), from either layout."""
    return torch.view_as_real(spectrogram.resolve_conj()) if spectrogram.is_complex() else spectrogram


def _real_imag(spectrogram: Tensor) -> tuple[Tensor, Tensor]:
    real, imag = _parts(spectrogram).transpose(1, 2).unbind(-1)
    return real, imag


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
    wide = magnitude.to(at_least_float32(magnitude.dtype))
    # (100 m)² + 1e-4, and not m² + 1e-8: an export to ONNX drops the addition of a constant up to 1e-8.
    power = (100 * wide).square() + 1e4 * _COMPRESSION_FLOOR
    result: Tensor = power.pow(exponent / 2) * 100**-exponent
    return result.to(magnitude.dtype)


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


class MaskResidual(nn.Module):
    """Module of :func:`mask_residual`. It has no parameters."""

    def forward(
        self, spectrogram: Tensor, mask_logit: Tensor, res_mag: Tensor, res_real: Tensor, res_imag: Tensor
    ) -> Tensor:
        return mask_residual(spectrogram, mask_logit, res_mag, res_real, res_imag)


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
