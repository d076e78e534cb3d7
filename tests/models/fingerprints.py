"""Parameters and a spectrogram from formulas. What a network makes of them tells whether it is the published one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lite_rtse_ext import SpectrogramModel

_NEAR_ONE = ("Wrr", "Wii")


def filled(model: SpectrogramModel) -> SpectrogramModel:
    """The network in float64 and evaluation mode, with parameters from formulas."""
    model = model.double().eval()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            with torch.no_grad():
                parameter.copy_(_values(module, name, parameter))
    return model


def _values(module: nn.Module, name: str, parameter: Tensor) -> Tensor:
    i = torch.arange(parameter.numel(), dtype=torch.float64)
    scale = isinstance(module, _NormBase | nn.LayerNorm | nn.PReLU) and name == "weight"
    if scale or name in _NEAR_ONE:
        values = 1 + 0.1 * i.sin()
    elif parameter.dim() == 1 or isinstance(module, nn.LayerNorm):
        values = 0.1 * i.sin()
    else:
        values = (0.7 * i + 1).sin() / math.sqrt(parameter.numel() / parameter.shape[0])
    return values.view(parameter.shape)


def spectrogram(bins: int, frames: int = 12) -> Tensor:
    """A spectrogram (1, bins, frames, 2) in float64."""
    f = torch.arange(bins, dtype=torch.float64).view(-1, 1, 1)
    t = torch.arange(frames, dtype=torch.float64).view(-1, 1)
    return (0.3 * f + 0.7 * t + 1.1 * torch.arange(2.0).double() + 0.05 * f * t).sin().unsqueeze(0)


@torch.no_grad()
def check(model: SpectrogramModel, mean: float, low: Sequence[float], high: Sequence[float], training: float) -> None:
    """Compare the mean magnitude of all values, in both modes, and those at bin 10 of frame 3 and bin 100 of frame 11.

    The values are rounded to nine places. DCCRN's are those of a variant that adds 1e-8 to the power of each bin.
    """
    x = spectrogram(model.signal.bins)
    enhanced = filled(model)(x)
    got = [enhanced.abs().mean(), *enhanced[0, 10, 3], *enhanced[0, 100, 11], model.train()(x).abs().mean()]
    assert [float(value) for value in got] == pytest.approx([mean, *low, *high, training], rel=0, abs=1e-8)


@torch.no_grad()
def first_changed_frame(model: SpectrogramModel, changed: int = 40, frames: int = 60) -> int:
    """The first frame of the result that changes when the input changes from a frame on."""
    x = spectrogram(model.signal.bins, frames)
    other = x.clone()
    other[:, :, changed:] *= -0.5
    difference = (model(x) - model(other)).abs().amax((0, 1, 3))
    return int((difference > 1e-9).nonzero()[0])
