"""Where the training of the convolution branch begins: near a linear filter of the magnitude.

With a convolution's usual initial values every layer makes what it is given smaller, products of small numbers are
smaller still, and what comes out of the branch is little but its biases: the layers after it learn to do without it.
Here each convolution begins as the present moment and bin plus a little of what is around, and each gate as 1 plus a
tenth of what it reads. So the branch gives a random filter of the magnitude at the magnitude's own scale, from loud to
soft alike, and its products begin mild: a product of n gates is 1 ± n/10, where usual speech is below 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lite_rtse_ext.reference import ConvBlock

__all__ = ["begin_linear"]

_AROUND = 0.3
"""Root of the energy of what a convolution takes from around a point, beside 1 of the point itself."""

_GATE = 0.1


@torch.no_grad()
def begin_linear(branch: nn.Sequential) -> None:
    """Set the initial values of Lite-RTSE's branch: Conv-Blocks, and a Multi-Order block at the end. Random, from
    PyTorch's own generator."""
    for block in branch:
        weights, biases = block.operands()  # type: ignore[operator]
        for bias in biases:
            nn.init.zeros_(bias)
        if isinstance(block, ConvBlock):
            _begin_conv_block(weights, biases)
        else:
            _begin_multi_order(weights, biases)


def _begin_conv_block(weights: list[Tensor], biases: list[Tensor]) -> None:
    w_in, w_causal, w_out, w_skip = weights
    _mix(w_in)
    _filter(w_causal)
    _mix(w_out)
    _gate(w_skip, biases[-1])


def _begin_multi_order(weights: list[Tensor], biases: list[Tensor]) -> None:
    stages = len(weights) // 2 - 1
    depthwise, pointwise = weights[1 : 1 + stages], weights[1 + stages : -1]
    signals = len(depthwise[0])
    _mix(weights[0])
    _gate(weights[0][signals:], biases[0][signals:])
    for w_depthwise, bias, w_pointwise in zip(depthwise, biases[1:], pointwise, strict=False):
        gates = w_pointwise.shape[1]
        _filter(w_depthwise)
        _gate(w_depthwise[-gates:], bias[-gates:])
        _pass_on(w_pointwise)
    _mix(weights[-1])


def _random(weight: Tensor, strength: float) -> None:
    """Values whose sum over as many inputs of strength 1 has this strength."""
    nn.init.normal_(weight, std=strength * weight[0].numel() ** -0.5)


def _mix(weight: Tensor) -> None:
    """1×1: a random mixture of the channels, as strong as they are."""
    _random(weight, 1.0)


def _filter(weight: Tensor) -> None:
    """Each channel itself, at this frame and bin, and a little of what the kernel sees beside it."""
    _random(weight, _AROUND)
    for channel, kernel in enumerate(weight):
        kernel[channel % len(kernel), -1, kernel.shape[-1] // 2] += 1


def _gate(weight: Tensor, bias: Tensor) -> None:
    """1, and a tenth of what is read."""
    _random(weight, _GATE)
    nn.init.ones_(bias)


def _pass_on(weight: Tensor) -> None:
    """1×1 from g to 2g channels: each twice, and a little of the others."""
    _random(weight, _GATE)
    for channel, kernel in enumerate(weight):
        kernel[channel % len(kernel)] += 1
