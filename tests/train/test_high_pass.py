"""Training and validation hear what the network hears in use: the waveform behind the high-pass."""

from __future__ import annotations

import pytest
import torch

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.audio import remove_offset
from lite_rtse_ext.data.dataset import Example
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.train.module import Enhancer
from lite_rtse_ext.train.recipe import ModelRecipe, Recipe


def enhancer(high_pass: bool) -> Enhancer:
    torch.manual_seed(0)
    net = InputGain(LiteRTSE(channels=4, order=2), 0.0625)
    return Enhancer(net, Recipe(model=ModelRecipe(high_pass=high_pass)))


def batch(offset: float = 0.0) -> Example:
    random = torch.Generator().manual_seed(0)
    clean = 0.1 * torch.randn(2, 4000, generator=random)
    return Example(clean + 0.05 * torch.randn(2, 4000, generator=random) + offset, clean)


def change(high_pass: bool) -> float:
    """Of the loss, by an offset."""
    with torch.no_grad():
        plain, lifted = (float(enhancer(high_pass).losses(batch(offset))[0].total) for offset in (0.0, 0.3))
    return abs(lifted - plain) / abs(plain)


def test_an_offset_does_not_change_the_loss() -> None:
    assert change(high_pass=True) < 1e-5
    assert change(high_pass=False) > 0.01


def test_the_network_gives_what_it_gives_in_use() -> None:
    module, noisy = enhancer(True), batch(0.3).noisy
    module.net.input_gain = 1.0
    inner = module.net.net
    assert isinstance(inner, LiteRTSE)
    with torch.no_grad():
        torch.testing.assert_close(module(noisy), inner.enhance(noisy))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_leaves_it_alone(dtype: torch.dtype) -> None:
    noisy = batch(0.3).noisy
    expected = remove_offset(noisy)
    with torch.autocast("cpu", dtype):
        assert torch.equal(remove_offset(noisy), expected)
