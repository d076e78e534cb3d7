"""Initial values with which the signal passes the convolution branch, and standardization."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.audio.spectrogram import stft
from lite_rtse_ext.train.initial import begin_with_unit_gain, standardize
from lite_rtse_ext.train.network import build_network
from lite_rtse_ext.train.recipe import ModelRecipe, RecipeError


def waveforms() -> list[torch.Tensor]:
    """Colored noise whose level changes."""
    generator = torch.Generator().manual_seed(0)
    envelope = torch.linspace(-3, 0, 8000).exp()
    return [0.01 * envelope * torch.randn(8000, generator=generator).cumsum(0) for _ in range(4)]


def test_standardized_levels_have_mean_zero_and_deviation_one() -> None:
    net = LiteRTSE(channels=8, order=3, compression=0.3)
    standardize(net, waveforms())
    levels = torch.cat([net.read(stft(waveform).abs().mT) for waveform in waveforms()])
    torch.testing.assert_close(levels.mean(0), torch.zeros(257), atol=1e-4, rtol=0)
    torch.testing.assert_close(levels.std(0), torch.ones(257), atol=1e-3, rtol=0)
    standardize(net, [torch.zeros(1000)])
    assert net.input_scale.isfinite().all()


def dependence(net: LiteRTSE) -> float:
    """The median deviation of the branch's output over inputs, away from the edges."""
    torch.manual_seed(1)
    levels = torch.nn.functional.avg_pool2d(torch.randn(6, 1, 64, 257), 5, 1, 2) * 5  # about 1, and smooth like speech
    with torch.no_grad():
        features = net.msmo_conv(levels)
    return float(features[:, :, 28:, 16:-16].std(0).median())


def test_the_signal_passes_the_branch() -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        net = LiteRTSE(compression=0.3, mask_branch=True)
        before = dependence(net)
        begin_with_unit_gain(net)
        assert 0.03 < dependence(net) < 3
        assert before < 1e-4


def test_the_first_mask_and_residual_keep_the_input() -> None:
    net = LiteRTSE(channels=8, order=3, compression=0.3, mask_branch=True)
    begin_with_unit_gain(net)
    x = 0.1 * torch.randn(1, 257, 8, 2)
    gain = torch.view_as_complex(net(x).detach().contiguous()) / torch.view_as_complex(x)
    assert (gain.abs() > 0.3).all()
    assert gain.angle().abs().max() < 1.0


@pytest.mark.parametrize("other", [{"identity": True}, {"delayed_branch": "msmo_conv"}])
def test_a_branch_with_unit_gain_cannot_be_delayed(other: dict[str, Any]) -> None:
    """Its output would not be zero in the saved weights, which hold no delay."""
    with pytest.raises(RecipeError, match=r"model\.unit_gain: expected neither identity nor delayed_branch"):
        build_network(ModelRecipe(unit_gain=True, **other), examples=None)  # type: ignore[arg-type]
