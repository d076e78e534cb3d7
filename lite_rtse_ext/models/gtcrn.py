"""GTCRN: a tiny U-Net of grouped convolutions and grouped recurrent layers (Rong et al., ICASSP 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models.blocks.bands import FixedLinear, erb_bands, with_neighbors
from lite_rtse_ext.models.blocks.causal import Causal, Pasts
from lite_rtse_ext.models.blocks.convolution import ConvBlock, ConvTransposeBlock
from lite_rtse_ext.models.blocks.dual_path import DualPath, along_time
from lite_rtse_ext.models.names import unwrapped

__all__ = ["GTCRN"]

_CHANNELS = 16
_LOW_BINS = 65  # bins that have bands of their own
_BANDS = 64  # of all higher bins together
_INNER_BINS = 33  # after both strides
_DILATIONS = (1, 2, 5)
_TELLING = "encoder.en_convs.0.conv.weight"


class GTCRN(SpectrogramModel):
    """The network: 23,669 trained parameters, and two fixed matrices with 24,576 values.

    The upper bins are combined to bands. The encoder halves the bins twice, two dual paths follow, and the decoder is
    the mirror image of the encoder. Its result, spread to the bins again, is a complex mask.

    The parameters have the names of the public checkpoints. These checkpoints contain the fixed matrices, too.
    """

    architecture: ClassVar[str] = "gtcrn"

    def __init__(self) -> None:
        super().__init__()
        self.erb = _Bands(self.signal.bins, self.signal.sample_rate / self.signal.n_fft)
        self.encoder = _Encoder()
        self.dpgrnn1 = DualPath(nn.GRU, _INNER_BINS, _CHANNELS, _CHANNELS, groups=2)
        self.dpgrnn2 = DualPath(nn.GRU, _INNER_BINS, _CHANNELS, _CHANNELS, groups=2)
        self.decoder = _Decoder()

    @property
    def context_frames(self) -> int:
        return 0

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        """Enhance the frames from ``before`` on. The states are those of all causal layers."""
        pasts = Pasts(states)
        spectrum = spectrogram[:, :, before:].permute(0, 3, 2, 1).contiguous()  # (B, 2, T, F)
        real, imag = spectrum.unbind(1)
        magnitude = (real.square() + imag.square() + 1e-12).sqrt()
        x = with_neighbors(self.erb.compressed(torch.stack([magnitude, real, imag], 1)))
        x, skips = self.encoder(x, pasts)
        x = self.dpgrnn2(self.dpgrnn1(x, pasts), pasts)
        mask = self.erb.expanded(self.decoder(x, skips, pasts))
        mask_real, mask_imag = mask.unbind(1)
        product = (real * mask_real - imag * mask_imag, imag * mask_real + real * mask_imag)
        return torch.stack([part.mT for part in product], -1), pasts.next

    @classmethod
    def recognize(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        found = unwrapped(state, (_TELLING,))
        if _TELLING not in found or "dpgrnn1.intra_rnn.rnn1.weight_ih_l0" not in found:
            raise ValueError(f"no parameters of GTCRN: {_TELLING} or dpgrnn1 is missing")
        return found, {}


class _Bands(nn.Module):
    """The lowest bins as they are, and bands of the others."""

    def __init__(self, bins: int, bin_hz: float) -> None:
        super().__init__()
        matrix = erb_bands(_BANDS, _LOW_BINS * bin_hz, (bins - 1) * bin_hz, bin_hz)
        self.erb_fc = FixedLinear(matrix)
        self.ierb_fc = FixedLinear(matrix.T)

    def compressed(self, x: Tensor) -> Tensor:
        return torch.cat([x[..., :_LOW_BINS], self.erb_fc(x[..., _LOW_BINS:])], -1)

    def expanded(self, x: Tensor) -> Tensor:
        return torch.cat([x[..., :_LOW_BINS], self.ierb_fc(x[..., _LOW_BINS:])], -1)


class _Encoder(Causal):
    def __init__(self) -> None:
        super().__init__()
        first = ConvBlock(9, _CHANNELS, (1, 5), 2, (2, 2), act=nn.PReLU())
        second = ConvBlock(_CHANNELS, _CHANNELS, (1, 5), 2, (2, 2), groups=2, act=nn.PReLU())
        self.en_convs = nn.ModuleList([first, second, *(_TemporalBlock(dilation) for dilation in _DILATIONS)])

    def forward(self, x: Tensor, pasts: Pasts) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for stage in self.en_convs:
            x = stage(x, pasts)
            skips.append(x)
        return x, skips


class _Decoder(Causal):
    def __init__(self) -> None:
        super().__init__()
        blocks = (_TemporalBlock(dilation, transposed=True) for dilation in reversed(_DILATIONS))
        last = 2 * (2 * _INNER_BINS - 1) - 1
        fourth = ConvTransposeBlock(_CHANNELS, _CHANNELS, (1, 5), 2, (2, 2 * _INNER_BINS - 1), groups=2, act=nn.PReLU())
        fifth = ConvTransposeBlock(_CHANNELS, 2, (1, 5), 2, (2, last), act=nn.Tanh())
        self.de_convs = nn.ModuleList([*blocks, fourth, fifth])

    def forward(self, x: Tensor, skips: list[Tensor], pasts: Pasts) -> Tensor:
        for stage, skip in zip(self.de_convs, reversed(skips), strict=True):
            x = stage(skip + x, pasts)  # the sum has the memory layout of the skip, which the stages read faster
        return x


class _TemporalBlock(Causal):
    """Half of the channels pass a dilated depthwise convolution and an attention over time. Then the halves alternate.

    Args:
        dilation: distance of the frames of the depthwise convolution.
        transposed: whether the convolutions are transposed, as in the decoder. The depthwise one is still causal.
    """

    def __init__(self, dilation: int, transposed: bool = False) -> None:
        super().__init__()
        conv = nn.ConvTranspose2d if transposed else nn.Conv2d
        half = _CHANNELS // 2
        self.past = 2 * dilation
        self.point_conv1 = conv(3 * half, _CHANNELS, 1)
        self.point_bn1 = nn.BatchNorm2d(_CHANNELS)
        self.point_act = nn.PReLU()
        padding = (self.past if transposed else 0, 1)
        self.depth_conv = conv(_CHANNELS, _CHANNELS, 3, padding=padding, dilation=(dilation, 1), groups=_CHANNELS)
        self.depth_bn = nn.BatchNorm2d(_CHANNELS)
        self.depth_act = nn.PReLU()
        self.point_conv2 = conv(_CHANNELS, half, 1)
        self.point_bn2 = nn.BatchNorm2d(half)
        self.tra = _Attention(half)

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        worked, kept = x.chunk(2, 1)
        worked = self.point_act(self.point_bn1(self.point_conv1(with_neighbors(worked))))
        worked = self.depth_act(self.depth_bn(self.depth_conv(pasts.before(worked, self.past))))
        worked = self.tra(self.point_bn2(self.point_conv2(worked)), pasts)
        return torch.stack([worked, kept], 2).flatten(1, 2)


class _Attention(Causal):
    """A gain for every channel and frame, from the channels' powers up to this frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.att_gru = nn.GRU(channels, 2 * channels, batch_first=True)
        self.att_fc = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        power = x.square().mean(-1).mT  # (B, T, C)
        gain: Tensor = self.att_fc(along_time(self.att_gru, power.unsqueeze(1), pasts).squeeze(1)).sigmoid()
        return x * gain.mT.unsqueeze(-1)
