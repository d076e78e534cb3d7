"""Bands whose widths grow with frequency as those of hearing (ERB), and the features between neighboring bins."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FixedLinear", "erb_bands", "with_neighbors"]


def erb_bands(bands: int, low_hz: float, high_hz: float, bin_hz: float) -> Tensor:
    """Compute triangular bands with equal distances on the ERB scale, 21.4 log10(0.00437 f + 1).

    The band's weights rise linearly from the center of the band below, and fall to the center of the band above. So the
    weights of every bin add up to 1. The centers are rounded to bins, and they are at least one bin apart.

    Args:
        bands: number of bands.
        low_hz: center of the lowest band.
        high_hz: center of the highest band.
        bin_hz: distance of two bins.

    Returns:
        Weights ``(bands, bins)`` of the bins from the lowest to the highest center.
    """
    low, high = (21.4 * math.log10(0.00437 * hz + 1) for hz in (low_hz, high_hz))
    points = (low + (high - low) * band / (bands - 1) for band in range(bands))
    centers: list[int] = []
    for point in points:
        center = round((10 ** (point / 21.4) - 1) / 0.00437 / bin_hz)
        centers.append(max(center, centers[-1] + 1) if centers else center)
    bins = torch.arange(centers[0], centers[-1] + 1, dtype=torch.float64)
    weights = torch.zeros(bands, len(bins), dtype=torch.float64)
    for band, (start, stop) in enumerate(pairwise(centers)):
        inside = slice(start - centers[0], stop - centers[0] + 1)
        weights[band + 1, inside] = (bins[inside] - start) / (stop - start)
        weights[band, inside] = 1 - weights[band + 1, inside]
    return weights


class FixedLinear(nn.Module):
    """A product with a matrix that is not trained. Its state-dict key is ``weight``.

    Args:
        weight: the matrix ``(outputs, inputs)``.
    """

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.to(torch.get_default_dtype()).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)

    def extra_repr(self) -> str:
        return "in_features={1}, out_features={0}".format(*self.weight.shape)


def with_neighbors(x: Tensor) -> Tensor:
    """Put the bins f - 1, f and f + 1 of channel c into the channels 3 c to 3 c + 2. Outside there are zeros.

    Args:
        x: (B, C, T, F).

    Returns:
        (B, 3 C, T, F).
    """
    wide = functional.pad(x, (1, 1))
    return torch.stack([wide[..., :-2], x, wide[..., 2:]], dim=2).flatten(1, 2)
