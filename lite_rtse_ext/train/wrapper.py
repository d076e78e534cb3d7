"""Wrapper around a network in training: scaled input, a minimum gain, and a branch that joins later.

Lite-RTSE reads the plain magnitude. At full scale that reaches 60, is a thousand times larger in the bass than in the
treble, and the Multi-Order block raises it to the twentieth power. Training is quick and calm when the LSTM and the
fusion layer read magnitudes of about 1 in every bin, and the block reads small ones. Both are fixed factors, the same
for every recording and moment, and can be moved into the weights: :meth:`ScaledLiteRTSE.plain_state` gives the
parameters of a plain Lite-RTSE that computes the same.

So can the minimum gain k. The network gives the magnitude Ŷ = M + R (X − M): the mask's M, and of what that takes
away a part R, which is the linear ``to_mag``. With (1 − k) R + k in its place that is

    M + (1 − k) R (X − M) + k (X − M) = (1 − k) Ŷ + k X,

and (1 − k) R + k is linear again: weights (1 − k) W, bias (1 − k) b + k.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lite_rtse_ext.audio.spectrogram import stft
from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models import lite_rtse as model
from lite_rtse_ext.nn.lstm import LSTM
from lite_rtse_ext.reference import LiteRTSE
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["ScaledLiteRTSE", "begin_as_identity", "delay_branch", "measure_scale", "min_gain_per_bin"]

_BASS_HZ = 1000.0


class ScaledLiteRTSE(SpectrogramModel):
    """Lite-RTSE whose branches read scaled magnitudes; parameters differ from the plain network's by these scales.

    Args:
        net: the network, plain or fused; its parameters are taken to be a plain network's, and converted.
        scale: what the first LSTM and the fusion layer read is multiplied by, ``(bins,)``.
        input_gain: what the convolution branch reads is multiplied by.
        dropout: chance that a value which an LSTM gives is dropped while training.
        min_gain: minimum gain of each bin, ``(bins,)``; 0 by default. It is not applied in training steps, so that the
            network can't rely on it.
    """

    scale: Tensor
    input_gain: Tensor
    min_gain: Tensor

    def __init__(
        self, net: LiteRTSE, scale: Tensor, input_gain: float, dropout: float = 0.0, min_gain: Tensor | None = None
    ) -> None:
        super().__init__()
        self.net, self.dropout, self.signal = net, dropout, net.signal
        self.register_buffer("scale", scale.detach().clone().float())
        self.register_buffer("input_gain", torch.tensor(float(input_gain)))
        lowest = torch.zeros_like(self.scale) if min_gain is None else min_gain.detach().clone().float()
        self.register_buffer("min_gain", lowest)
        net.load_state_dict(self._converted(net.state_dict(), inverse=True))
        if isinstance(net, model.LiteRTSE):
            for lstm in (net.lstm1, net.lstm2):  # with hooks, run_lstm calls the module: that one has to be fused, too
                lstm.__class__ = LSTM
        net.lstm1.register_forward_pre_hook(self._before_lstm)
        net.fc2.register_forward_pre_hook(self._before_fusion)
        net.msmo_conv.register_forward_pre_hook(self._before_convolutions)
        net.to_mag.register_forward_hook(self._after_residual)
        for lstm in (net.lstm1, net.lstm2) if dropout else ():
            lstm.register_forward_hook(self._after_lstm)

    def forward(self, spectrogram: Tensor) -> Tensor:
        result: Tensor = self.net(spectrogram)
        return result

    @property
    def context_frames(self) -> int:
        return self.net.context_frames

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        return self.net.advance(spectrogram, before, states)

    def plain_state(self) -> dict[str, Tensor]:
        """Parameters of the plain network that computes the same."""
        return self._converted(self.net.state_dict(), inverse=False)

    def _before_lstm(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return inputs[0] * self.scale, *inputs[1:]

    def _after_lstm(self, module: nn.Module, inputs: Any, results: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        return nn.functional.dropout(results[0], self.dropout, module.training), results[1]

    def _after_residual(self, module: nn.Module, inputs: Any, residual: Tensor) -> Tensor:
        return residual if module.training else residual + self.min_gain * (1 - residual)

    def _before_fusion(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0] * self._fusion_scale(),)

    def _before_convolutions(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0] * self.input_gain,)

    def _fusion_scale(self) -> Tensor:
        """For magnitude, masked magnitude and the convolutions' result, ``(3 bins,)``."""
        return torch.cat([self.scale, self.scale, torch.ones_like(self.scale)])

    def _converted(self, state: dict[str, Tensor], inverse: bool) -> dict[str, Tensor]:
        factors = {
            "lstm1.weight_ih_l0": self.scale,
            "fc2.weight": self._fusion_scale(),
            "msmo_conv.0.conv.0.weight": self.input_gain,
            "msmo_conv.0.skip.weight": self.input_gain,
        }
        converted = {key: value.detach().clone() for key, value in state.items()}
        for key, factor in factors.items():
            converted[key] *= 1 / factor if inverse else factor
        weight, bias, lost = converted["to_mag.weight"], converted["to_mag.bias"], 1 - self.min_gain
        if inverse:
            weight /= lost.unsqueeze(1)
            bias.sub_(self.min_gain).div_(lost)
        else:
            weight *= lost.unsqueeze(1)
            bias.mul_(lost).add_(self.min_gain)
        return converted


@torch.no_grad()
def begin_as_identity(net: LiteRTSE) -> None:
    """Initial values from which little has to be unlearnt: the mask lets through 3/4, the phase stays as it is, and the
    Multi-Order block gives zero until its last layer has learnt something."""
    nn.init.ones_(net.fc1.bias)
    nn.init.ones_(net.to_real.bias)
    nn.init.zeros_(net.to_mag.bias)
    nn.init.zeros_(net.get_parameter("msmo_conv.2.pwconvN.weight"))
    nn.init.zeros_(net.get_parameter("msmo_conv.2.pwconvN.bias"))


def measure_scale(noisy: Iterable[Tensor]) -> Tensor:
    """Scales that bring the bins' magnitudes to about 1: the inverse of the geometric mean of each bin's mean and that
    of all bins. So the treble, which is softer, stays somewhat softer.

    Args:
        noisy: waveforms ``(samples,)``.

    Returns:
        ``(bins,)``.
    """
    means = torch.stack([stft(waveform).abs().mean(-1) for waveform in noisy]).mean(0)
    return (means * means.mean()).clamp(min=1e-8).rsqrt()


def min_gain_per_bin(bins: int, bass: float, treble: float) -> Tensor:
    """The minimum gain of each bin, ``(bins,)``: ``bass`` up to 1 kHz, ``treble`` from 2 kHz on, a straight line over
    the logarithm of frequency between them."""
    frequencies = torch.linspace(0, SAMPLE_RATE_HZ / 2, bins).clamp(min=1.0)
    return bass + (treble - bass) * (frequencies / _BASS_HZ).log2().clamp(0, 1)


def delay_branch(net: nn.Module, name: str, delayed: bool) -> None:
    """Let a submodule give zeros in the shape of its input, without computing anything; or no longer.

    Raises:
        ValueError: the network has no such submodule.
    """
    try:
        module = net.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"delayed_branch: the network has no submodule {name}") from error
    if delayed:
        module.forward = torch.zeros_like  # type: ignore[method-assign]
    else:
        module.__dict__.pop("forward", None)
    for parameter in module.parameters():
        parameter.requires_grad_(not delayed)
