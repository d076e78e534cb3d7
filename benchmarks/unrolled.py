"""The network rewritten by hand for ``torch.compile``: the fastest plain PyTorch code for the compiler that we know.

PyTorch's compiler calls oneDNN for a convolution. Here a depthwise convolution is written as a sum over the taps of its
kernel. This is elementwise arithmetic, which the compiler fuses into one loop. The gradients are written out in the
same way: autograd would turn the gradient of 49 overlapping slices into 49 padded copies. The reconstruction is one
complex gain instead of magnitudes and phases.

This code is slow unless it is compiled. The benchmarks always compile it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lite_rtse_ext import reference
from lite_rtse_ext.reference import complex_gain


def _pad(x: Tensor, padding: Sequence[int]) -> Tensor:
    """Pad as ``functional.pad`` does, but by concatenation, so that the compiler writes the padded tensor to memory.

    The compiler would recompute ``functional.pad`` in each of the 49 loads, with one comparison each. Then it no longer
    vectorizes.
    """
    left, right, top, bottom = padding
    batch, channels, frames, bins = x.shape
    x = torch.cat([x.new_zeros(batch, channels, top, bins), x, x.new_zeros(batch, channels, bottom, bins)], 2)
    zeros = [x.new_zeros(batch, channels, frames + top + bottom, columns) for columns in (left, right)]
    return torch.cat([zeros[0], x, zeros[1]], 3)


def _taps(padded: Tensor, kernel: Sequence[int], plane: Sequence[int]) -> list[list[Tensor]]:
    """Return the input plane of every tap (i, j), by which the weight of the tap is multiplied."""
    (kt, kf), (frames, bins) = kernel, plane
    return [[padded[:, :, i : i + frames, j : j + bins] for j in range(kf)] for i in range(kt)]


def _correlate(padded: Tensor, weight: Tensor, plane: Sequence[int]) -> Tensor:
    """Σ_ij weight[c,0,i,j] · padded[b, c, t + i, f + j], as a chain of multiply-adds."""
    shifted = _taps(padded, weight.shape[2:], plane)
    total = torch.zeros((), dtype=padded.dtype)
    for i, row in enumerate(shifted):
        for j, tap in enumerate(row):
            total = total + weight[:, 0, i, j, None, None] * tap
    return total


class _CausalDepthwise(torch.autograd.Function):
    """``y = w ⋆ pad(x) + b``; ``dx = flip(w) ⋆ pad'(dy)``, padded after the last frame; ``dw_ij = Σ dy · x_ij``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        padded = _pad(x, reference.causal_padding(weight.shape[2:]))
        return _correlate(padded, weight, x.shape[2:]) + bias[:, None, None]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (dy,) = gradients
        kt, kf = weight.shape[2:]
        later = _pad(dy, (kf // 2, kf // 2, 0, kt - 1))
        dx = _correlate(later, weight.flip(2, 3), x.shape[2:])
        padded = _pad(x, reference.causal_padding((kt, kf)))
        rows = [[(dy * tap).sum((0, 2, 3)) for tap in row] for row in _taps(padded, (kt, kf), x.shape[2:])]
        dweight = torch.stack([torch.stack(row, -1) for row in rows], -2).unsqueeze(1)
        return dx, dweight, dy.sum((0, 2, 3))


def causal_dwconv2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute the same as :func:`lite_rtse_ext.reference.causal_dwconv2d`."""
    y: Tensor = _CausalDepthwise.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


class CausalDepthwiseConv2d(reference.CausalDepthwiseConv2d):
    """Drop-in replacement of the reference module."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return causal_dwconv2d(x, self.weight, self.bias)


class ConvBlock(reference.ConvBlock):
    """Drop-in replacement of the reference module with a depthwise convolution."""

    def forward(self, x: Tensor) -> Tensor:
        (w_in, w_causal, w_out, w_skip), (b_in, b_causal, b_out, b_skip) = self.operands()
        h = causal_dwconv2d(functional.conv2d(x, w_in, b_in), w_causal, b_causal)
        return functional.conv2d(h, w_out, b_out) * functional.conv2d(x, w_skip, b_skip)


class MultiOrderConv(reference.MultiOrderConv):
    """Drop-in replacement of the reference module."""

    def forward(self, x: Tensor) -> Tensor:
        weights, biases = self.operands()
        stages = len(weights) // 2 - 1
        h = functional.conv2d(x, weights[0], biases[0])
        d, p = torch.split(h, [weights[1].shape[0], h.shape[1] - weights[1].shape[0]], dim=1)
        for k in range(1, 1 + stages):
            u = causal_dwconv2d(d, weights[k], biases[k])
            d, gate = torch.split(u, [u.shape[1] - p.shape[1], p.shape[1]], dim=1)
            p = functional.conv2d(p * gate, weights[k + stages], biases[k + stages])
        return functional.conv2d(d * p, weights[-1], biases[-1])


class MaskResidual(reference.MaskResidual):
    """Drop-in replacement of the reference module, for a spectrogram of real parts."""

    def forward(
        self, spectrogram: Tensor, mask_logit: Tensor, res_mag: Tensor, res_real: Tensor, res_imag: Tensor
    ) -> Tensor:
        return complex_gain(spectrogram, mask_logit, res_mag, res_real, res_imag)


class LiteRTSE(reference.LiteRTSE):
    """Drop-in replacement of the reference network."""

    conv_block = ConvBlock
    multi_order_conv = MultiOrderConv
    reconstruction = MaskResidual
