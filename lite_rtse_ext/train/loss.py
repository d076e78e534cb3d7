"""The training loss: the distance of the enhanced spectrogram and waveform from the clean ones."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from typing_extensions import Self

from lite_rtse_ext.audio.spectrogram import istft
from lite_rtse_ext.signal import SIGNAL, Signal
from lite_rtse_ext.utils.options import STRICT, Decibels, NonNegative, Positive

__all__ = ["EnhancementLoss", "LossOptions", "Losses", "si_snr_db"]

_EPS = 1e-8
_COMPRESSION_FLOOR = 1e-4
"""Added to the power before compression. Spectrograms have unit mean power, so this is 40 dB below the mean.
Below this value the compression is nearly linear, so that the gradient stays finite at zero."""


class Losses(NamedTuple):
    """The parts of the loss, each averaged over the batch, and their weighted sum ``total``. All are scalars."""

    total: Tensor
    complex: Tensor
    magnitude: Tensor
    si_snr: Tensor


def si_snr_db(estimate: Tensor, target: Tensor) -> Tensor:
    """Compute the scale-invariant signal-to-noise ratio in dB (Le Roux et al., 2019).

    The result is differentiable, and finite for silent signals. For this, 1e-8 is added to the energies, so that the
    ratio of a very soft signal is too low. Example: one second of noise at a true ratio of 20 dB. It gives 19.9 dB if
    its root mean square is 5e-5, and 14.4 dB at 5e-6. :class:`EnhancementLoss` therefore scales signals to unit power
    first. The evaluation (:mod:`lite_rtse_ext.evaluate.metrics`) adds no such constant.

    Args:
        estimate: estimated waveforms ``(..., samples)``, floating point.
        target: clean waveforms of the same shape and dtype.

    Returns:
        Ratios in dB, ``(...)``. Identical signals give about 80 dB, a silent target about 0.
    """
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    scale = (estimate * target).sum(-1, keepdim=True) / (target.square().sum(-1, keepdim=True) + _EPS)
    signal = scale * target
    ratio = (signal.square().sum(-1) + _EPS) / ((estimate - signal).square().sum(-1) + _EPS)
    return 10 * torch.log10(ratio)


@dataclass(frozen=True, config=STRICT)
class LossOptions:
    """Options of :class:`EnhancementLoss`.

    Args:
        complex: weight of the complex part.
        magnitude: weight of the magnitude part.
        si_snr: weight of the SI-SNR part, per decibel.
        compression: the exponent p.
        si_snr_ceiling_db: upper limit of the SI-SNR in dB. Examples above it have no SI-SNR gradient.
        over_suppression_weight: additional weight of bins whose enhanced magnitude is too small.

    Raises:
        ValueError: an option is outside its limits, or the weights of all three parts are 0.
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
    """Weighted sum of a compressed complex loss, a compressed magnitude loss and SI-SNR.

    The spectrograms of each example are first divided by the root mean square of its noisy spectrogram. So soft and
    loud recordings have equal weight. Let p be the compression and S^p = |S|^p · S/|S|. The parts are:

        complex    mean |Ŝ^p − S^p|²
        magnitude  mean (|Ŝ|^p − |S|^p)², times 1 + ``over_suppression_weight`` where |Ŝ| < |S|, because removed speech
                   is worse than residual noise
        si_snr     −SI-SNR of the waveforms in dB, clamped at ``si_snr_ceiling_db``; 0 for examples without speech

    Args:
        options: weights of the parts and the other options; the defaults if None.
        signal: the signal of the spectrograms.
    """

    def __init__(self, options: LossOptions | None = None, signal: Signal = SIGNAL) -> None:
        super().__init__()
        self.options, self.signal = options or LossOptions(), signal

    def forward(self, enhanced: Tensor, noisy: Tensor, clean: Tensor, waveform: Tensor) -> Losses:
        """Compute the losses of a batch.

        Args:
            enhanced: enhanced spectrogram ``(B, F, T)``, complex.
            noisy: noisy spectrogram of the same shape. Its root mean square is the scale of the example.
            clean: clean spectrogram of the same shape, the target.
            waveform: clean waveform ``(B, samples)``, from which ``clean`` was computed.
        """
        scale = (_power(torch.view_as_real(noisy)).mean((1, 2), keepdim=True) + _EPS).rsqrt()
        enhanced_magnitude, enhanced_complex = self._compress(torch.view_as_real(enhanced), scale)
        clean_magnitude, clean_complex = self._compress(torch.view_as_real(clean), scale)
        complex_part = 2 * (enhanced_complex - clean_complex).square().mean()  # |difference|² has two real terms
        excess = enhanced_magnitude - clean_magnitude
        over_suppression = excess.clamp(max=0).square().mean()
        magnitude_part = excess.square().mean() + self.options.over_suppression_weight * over_suppression
        si_snr_part = self._si_snr(enhanced * scale, waveform * scale.squeeze(-1))
        weights = self.options
        total = weights.complex * complex_part + weights.magnitude * magnitude_part + weights.si_snr * si_snr_part
        return Losses(total, complex_part, magnitude_part, si_snr_part)

    def _compress(self, spectrogram: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Return |S|^p ``(...)`` and S^p ``(..., 2)`` of a spectrogram ``(..., 2)``, given as real parts and scaled.

        The square root costs less than a second power.
        """
        power = _power(spectrogram) * scale.square() + _COMPRESSION_FLOOR
        gain = power ** ((self.options.compression - 1) / 2)
        return gain * power.sqrt(), spectrogram * (gain * scale).unsqueeze(-1)

    def _si_snr(self, enhanced: Tensor, target: Tensor) -> Tensor:
        has_speech = target.square().mean(-1) > _EPS
        waveform = istft(enhanced, target.shape[-1], self.signal)
        ratio = si_snr_db(waveform, target).clamp(max=self.options.si_snr_ceiling_db)
        # The mean is over all examples, silent ones included. So the mean over processes with equal shares is the same.
        return -(ratio * has_speech).mean()


def _power(spectrogram: Tensor) -> Tensor:
    """Return |S|² of real parts ``(..., 2)``. ``sum(-1)`` over two values would take several times as long."""
    real, imag = spectrogram.unbind(-1)
    return real * real + imag * imag
