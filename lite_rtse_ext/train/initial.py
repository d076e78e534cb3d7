"""Values of Lite-RTSE before the first step: initial parameters, and scales that are measured on training data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lite_rtse_ext.audio.spectrogram import stft
from lite_rtse_ext.reference import ConvBlock, LiteRTSE, MultiOrderConv, compressed
from lite_rtse_ext.signal import SIGNAL, Signal

__all__ = ["begin_as_identity", "begin_with_unit_gain", "measure_scale", "standardize"]

_LEAST_DEVIATION = 1e-3


@torch.no_grad()
def begin_as_identity(net: LiteRTSE) -> None:
    """Set initial values that make the output of the network close to its input, in place.

    The mask begins at about 3/4. The phase is unchanged. The output of the Multi-Order block is zero until its last
    layer has been trained.
    """
    _begin_open(net)
    nn.init.zeros_(net.get_parameter("msmo_conv.2.pwconvN.weight"))
    nn.init.zeros_(net.get_parameter("msmo_conv.2.pwconvN.bias"))


@torch.no_grad()
def begin_with_unit_gain(net: LiteRTSE) -> None:
    """Set initial values with which the signal passes the convolution branch with about unit gain, in place.

    With PyTorch's initial values, the factors of the Multi-Order block are far below 1, and their product contains less
    of the input than of the zero padding. Here every gate and every skip begins near 1. Depthwise kernels begin near
    the identity. Pointwise convolutions preserve the variance. The mask and the residual begin as in
    :func:`begin_as_identity`.
    """
    _begin_open(net)
    for block in net.msmo_conv:
        if isinstance(block, ConvBlock):
            inner, causal, outer = block.conv[0], block.conv[2], block.conv[3]
            _pointwise(inner)
            _near_identity(causal)
            _pointwise(outer)
            _pointwise(block.skip, gain=0.3, bias=1.0)
        elif isinstance(block, MultiOrderConv):
            _unit_gain_multi_order(block)


def _begin_open(net: LiteRTSE) -> None:
    """The mask begins at about 3/4, and the residual leaves magnitude and phase nearly unchanged."""
    nn.init.ones_(net.fc1.bias)
    nn.init.ones_(net.to_real.bias)
    nn.init.zeros_(net.to_mag.bias)


def _unit_gain_multi_order(block: MultiOrderConv) -> None:
    _pointwise(block.pwconv1)
    last = len(block.pwconvs) - 1
    for k, (stage, pointwise) in enumerate(zip(block.dwconvs, block.pwconvs, strict=True)):
        depthwise: Any = stage[1]  # type: ignore[index]
        gates: Any = pointwise.in_channels
        _near_identity(depthwise)
        depthwise.weight[-gates:] *= 0.3
        depthwise.bias[-gates:] = 1.0
        if k < last:
            _pointwise(pointwise)
        else:  # its output is the last gate
            _pointwise(pointwise, gain=0.5, bias=1.0)
    _pointwise(block.pwconvN, gain=0.1)


def _pointwise(conv: nn.Module, gain: float = 1.0, bias: float = 0.0) -> None:
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    nn.init.normal_(conv.weight, std=gain * conv.in_channels**-0.5)
    nn.init.constant_(conv.bias, bias)


def _near_identity(conv: nn.Module) -> None:
    """Noise of a variance that does not depend on the kernel's size, and the identity: the newest frame, same bin."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    time, frequency = conv.kernel_size
    nn.init.normal_(conv.weight, std=0.4 / time)
    nn.init.zeros_(conv.bias)
    own = torch.arange(conv.out_channels) % conv.weight.shape[1]
    conv.weight[torch.arange(conv.out_channels), own, -1, frequency // 2] += 1.0


def measure_scale(noisy: Iterable[Tensor], signal: Signal = SIGNAL) -> Tensor:
    """Measure the scales that bring the magnitude of every bin to about 1.

    The scale of a bin is 1 / √(m · M). Here m is the mean magnitude of this bin and M that of all bins. So high
    frequencies, which are softer, remain somewhat softer.

    Args:
        noisy: waveforms ``(samples,)``.
        signal: the signal of the network.

    Returns:
        Scales ``(bins,)``.
    """
    means = torch.stack([stft(waveform, signal).abs().mean(-1) for waveform in noisy]).mean(0)
    return (means * means.mean()).clamp(min=1e-8).rsqrt()


@torch.no_grad()
def standardize(net: LiteRTSE, noisy: Iterable[Tensor]) -> None:
    """Measure the mean and the deviation of the compressed magnitude in every bin, and store them in the network.

    Args:
        net: a network with ``compression`` or ``mask_branch``.
        noisy: waveforms ``(samples,)``.
    """
    levels = torch.cat(
        [compressed(stft(waveform, net.signal).abs(), net.compression).mT for waveform in noisy]
    ).double()
    net.input_mean.copy_(levels.mean(0))
    net.input_scale.copy_(1 / levels.std(0).clamp(min=_LEAST_DEVIATION))
