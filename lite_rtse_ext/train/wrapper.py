"""Training-time wrapper: input normalization, minimum gain, and delayed activation of a branch.

The input of Lite-RTSE is the plain magnitude. At full scale the magnitude reaches 60. It is a thousand times larger at
low frequencies than at high ones. The Multi-Order block raises it to the twentieth power. Training is fast and stable
if two conditions hold. The inputs of the LSTM and of the fusion layer are about 1 in every bin. The input of the block
is small. Both scales are fixed factors, the same for every recording and frame. So they can be folded into the weights:
:meth:`ScaledLiteRTSE.plain_state` returns the parameters of a plain Lite-RTSE that computes the same.

The minimum gain can be folded into the weights, too: see :mod:`lite_rtse_ext.models.min_gain`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models import lite_rtse as model
from lite_rtse_ext.models.min_gain import rescale
from lite_rtse_ext.nn.linear import Linear
from lite_rtse_ext.nn.lstm import LSTM
from lite_rtse_ext.reference import LiteRTSE

__all__ = ["ScaledLiteRTSE", "delay_branch"]


class ScaledLiteRTSE(SpectrogramModel):
    """Lite-RTSE with scaled inputs of its branches.

    Its parameters differ from those of the plain network by these scales.

    Args:
        net: the network, plain or fused, with the parameters of a plain network. These are converted in place.
        scale: factors on the inputs of the first LSTM and of the fusion layer, ``(bins,)``, not 0.
        input_gain: factor on the input of the convolution branch, not 0.
        dropout: probability that an output value of an LSTM is dropped in training mode.
        min_gain: minimum gain of each bin, ``(bins,)``, less than 1. 0 by default. It is applied at inference only, so
            that the network cannot rely on it.
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
            # Modules with hooks are called, so they must be fused, too.
            for lstm in (net.lstm1, net.lstm2):
                lstm.__class__ = LSTM
            for linear in (net.fc2, net.to_mag):
                linear.__class__ = Linear
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
        """Return the parameters of the plain network that computes the same."""
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
        """Return the factors for magnitude, masked magnitude and output of the convolution branch, ``(3 * bins,)``."""
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
        own = self.min_gain.cpu().double().numpy()
        none = np.zeros_like(own)
        rescale(converted["to_mag.weight"], converted["to_mag.bias"], *((own, none) if inverse else (none, own)))
        return converted


def delay_branch(net: nn.Module, name: str, delayed: bool) -> None:
    """Disable a submodule, or enable it again.

    A disabled submodule returns zeros in the shape of its input and computes nothing. Its parameters require no
    gradient.

    Args:
        net: the network.
        name: name of the submodule.
        delayed: True disables the submodule, False enables it.

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
