"""A U-Net of causal convolutions around two dual paths, the common part of DPCRN and DPCRN-CF."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lite_rtse_ext.models.blocks.causal import Causal, Pasts
from lite_rtse_ext.models.blocks.convolution import ConvBlock, ConvTransposeBlock
from lite_rtse_ext.models.blocks.dual_path import DualPath

__all__ = ["DualPathUNet"]

# Along the bins: kernel, stride, zeros before and behind. The transposes leave out as many bins before.
_STAGES = ((5, 2, (0, 2)), (3, 2, (0, 1)), (3, 1, (1, 1)), (3, 1, (1, 1)), (3, 1, (1, 1)))
_NORM = {"eps": 1e-3, "momentum": 0.01}


class DualPathUNet(Causal):
    """From (B, inputs, T, bins) to (B, outputs, T, bins), without norm and activation at the end.

    Five convolutions over two frames each halve the bins twice. Two dual paths of LSTMs follow, and five transposed
    convolutions. Each of these takes the output of the convolution of the same size as well.

    Args:
        bins: number of bins.
        inputs: number of input channels.
        outputs: number of output channels.
        channels: output channels of the five convolutions.
        units: output channels of the LSTMs.

    Attributes:
        inner_bins: number of bins between encoder and decoder.
    """

    def __init__(self, bins: int, inputs: int, outputs: int, channels: Sequence[int], units: int) -> None:
        super().__init__()
        sizes, widths = [bins], [inputs, *channels]
        encoder, decoder = [], []
        for (kernel, stride, padding), before, after in zip(_STAGES, widths, channels, strict=False):
            encoder.append(ConvBlock(before, after, (2, kernel), stride, padding, **_NORM))  # type: ignore[arg-type]
            sizes.append((sizes[-1] + sum(padding) - kernel) // stride + 1)
        self.inner_bins = sizes[-1]
        width = widths[-1]
        self.encoder = nn.ModuleList(encoder)
        self.dual_paths = nn.ModuleList(DualPath(nn.LSTM, self.inner_bins, width, units, eps=1e-3) for _ in range(2))
        for stage, (kernel, stride, padding) in reversed(list(enumerate(_STAGES))):
            options = {"plain": stage == 0, **_NORM}
            sides = (2 * widths[stage + 1], widths[stage] if stage else outputs)
            kept = (padding[0], sizes[stage])
            decoder.append(ConvTransposeBlock(*sides, (2, kernel), stride, kept, **options))  # type: ignore[arg-type]
        self.decoder = nn.ModuleList(decoder)

    def forward(self, x: Tensor, pasts: Pasts) -> tuple[Tensor, Tensor]:
        """Return the result, and the output of the dual paths (B, channels[-1], T, inner_bins)."""
        skips = []
        for stage in self.encoder:
            x = stage(x, pasts)
            skips.append(x)
        for path in self.dual_paths:
            x = path(x, pasts)
        inner = x
        for stage in self.decoder:
            x = stage(torch.cat([skips.pop(), x], 1), pasts)
        return x, inner
