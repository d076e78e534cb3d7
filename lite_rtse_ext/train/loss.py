"""The training loss: how far the enhanced spectrogram and waveform are from the clean ones."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from typing_extensions import Self

from lite_rtse_ext.audio.spectrogram import istft
from lite_rtse_ext.utils.options import STRICT, Decibels, NonNegative, Positive

__all__ = ["EnhancementLoss", "LossOptions", "Losses", "si_snr_db"]

_EPS = 1e-8
_COMPRESSION_FLOOR = 1e-4
"""Added to the power before it is compressed, for spectrograms of unit power: 40 dB below the mean. Below it the
compression is straight, so that the gradient stays finite at zero."""


class Losses(NamedTuple):
    """The parts of the loss, each the mean of the batch, and their weighted sum."""

    total: Tensor
    complex: Tensor
    magnitude: Tensor
    si_snr: Tensor


def si_snr_db(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-noise ratio in dB (Le Roux et al., 2019), differentiable, finite on silence.

    1e-8 is added to the energies, so the figure of a very soft signal is too low: a second of noise at 20 dB reads
    19.9 dB at a root mean square of 5e-5 and 14.4 dB at 5e-6. :class:`EnhancementLoss` brings signals to unit power
    first. Evaluation (:mod:`lite_rtse_ext.evaluate.metrics`) adds nothing of the kind.

    Args:
        estimate: ``(..., samples)``.
        target: the same shape.

    Returns:
        ``(...)``. Identical signals give about 80 dB, a silent target about 0.
    """
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    scale = (estimate * target).sum(-1, keepdim=True) / (target.square().sum(-1, keepdim=True) + _EPS)
    signal = scale * target
    ratio = (signal.square().sum(-1) + _EPS) / ((estimate - signal).square().sum(-1) + _EPS)
    return 10 * torch.log10(ratio)


@dataclass(frozen=True, config=STRICT)
class LossOptions:
    """Weights of :class:`EnhancementLoss`. Raises ValueError where one is outside its limits, or all are 0.

    Args:
        complex: weight of the complex part.
        magnitude: weight of the magnitude part.
        si_snr: weight of a decibel.
        compression: the exponent p.
        si_snr_ceiling_db: an SI-SNR above this is good enough and has no gradient.
        over_suppression_weight: how much more a magnitude counts that is too small.
    """

    complex: NonNegative = 0.7
    magnitude: NonNegative = 0.3
    si_snr: NonNegative = 0.01
    compression: Annotated[Positive, Field(ge=0.01, le=1)] = 0.3
    si_snr_ceiling_db: Decibels = 30.0
    over_suppression_weight: NonNegative = 0.0

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not (self.complex or self.magnitude or self.si_snr):
            raise ValueError("complex, magnitude, si_snr: expected at least one above 0, got 0, 0, 0")
        return self


class EnhancementLoss(nn.Module):
    """Compressed complex spectrum + compressed magnitude + SI-SNR.

    Spectrograms are first divided by the root mean square of the noisy one, example by example, so that soft and loud
    recordings count alike. With p the compression, S^p = |S|^p · S/|S|:

        complex    mean |Ŝ^p − S^p|²
        magnitude  mean (|Ŝ|^p − |S|^p)², times 1 + ``over_suppression_weight`` where |Ŝ| < |S|: to take speech away
                   is worse than to leave noise
        si_snr     −SI-SNR of the waveforms in dB, capped at ``si_snr_ceiling_db``; 0 for examples without speech

    Args:
        options: weights of the parts.
    """

    def __init__(self, options: LossOptions | None = None) -> None:
        super().__init__()
        self.options = options or LossOptions()

    def forward(self, enhanced: Tensor, noisy: Tensor, clean: Tensor, waveform: Tensor) -> Losses:
        """The losses of a batch.

        Args:
            enhanced: spectrogram ``(B, F, T)``, complex.
            noisy: the same, before enhancement; its level is the scale of the example.
            clean: the same, the target.
            waveform: the target's waveform ``(B, samples)``.
        """
        scale = (_power(torch.view_as_real(noisy)).mean((1, 2), keepdim=True) + _EPS).rsqrt()
        enhanced_magnitude, enhanced_complex = self._compress(torch.view_as_real(enhanced), scale)
        clean_magnitude, clean_complex = self._compress(torch.view_as_real(clean), scale)
        complex_part = 2 * (enhanced_complex - clean_complex).square().mean()  # of |difference|², which has two parts
        excess = enhanced_magnitude - clean_magnitude
        over_suppression = excess.clamp(max=0).square().mean()
        magnitude_part = excess.square().mean() + self.options.over_suppression_weight * over_suppression
        si_snr_part = self._si_snr(enhanced * scale, waveform * scale.squeeze(-1))
        weights = self.options
        total = weights.complex * complex_part + weights.magnitude * magnitude_part + weights.si_snr * si_snr_part
        return Losses(total, complex_part, magnitude_part, si_snr_part)

    def _compress(self, spectrogram: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """|S|^p and S^p of a scaled spectrogram as real parts ``(..., 2)``; the root costs less than a second power."""
        power = _power(spectrogram) * scale.square() + _COMPRESSION_FLOOR
        gain = power ** ((self.options.compression - 1) / 2)
        return gain * power.sqrt(), spectrogram * (gain * scale).unsqueeze(-1)

    def _si_snr(self, enhanced: Tensor, target: Tensor) -> Tensor:
        has_speech = target.square().mean(-1) > _EPS
        ratio = si_snr_db(istft(enhanced, target.shape[-1]), target).clamp(max=self.options.si_snr_ceiling_db)
        return -(ratio * has_speech).mean()  # over all, so that processes with equal shares average to the whole


def _power(spectrogram: Tensor) -> Tensor:
    """|S|² of real parts ``(..., 2)``; a sum over a dimension of two would take several times as long."""
    real, imag = spectrogram.unbind(-1)
    return real * real + imag * imag
