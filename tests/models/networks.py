"""Small networks behind the interface: one with states, one with context alone, one for whole recordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lite_rtse_ext import SpectrogramModel
from lite_rtse_ext.models import register


@register
class GruMask(SpectrogramModel):
    """A mask from a GRU that hears each bin by itself."""

    architecture: ClassVar[str] = "gru-mask"
    config_limits: ClassVar[Mapping[str, int]] = {"hidden": 100}

    def __init__(self, hidden: int = 4) -> None:
        super().__init__()
        self.hidden = hidden
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    @property
    def context_frames(self) -> int:
        return 0

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        spectrogram = spectrogram[:, :, before:]
        magnitude = torch.linalg.vector_norm(spectrogram, dim=-1)
        batch, bins, frames = magnitude.shape
        before = None if states is None else states["gru"].view(1, batch * bins, self.hidden)
        hidden, after = self.gru(magnitude.reshape(batch * bins, frames, 1), before)
        mask = self.out(hidden).sigmoid().view(batch, bins, frames, 1)
        return spectrogram * mask, {"gru": after.view(batch, bins, self.hidden)}


@register
class ConvMask(SpectrogramModel):
    """A mask from each bin's last frames. Its ``advance`` is the interface's."""

    architecture: ClassVar[str] = "conv-mask"

    def __init__(self, frames: int = 5) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv1d(257, 257, frames, groups=257)

    @property
    def context_frames(self) -> int:
        return self.frames - 1

    def forward(self, spectrogram: Tensor) -> Tensor:
        magnitude = torch.linalg.vector_norm(spectrogram, dim=-1)
        mask: Tensor = self.conv(nn.functional.pad(magnitude, (self.frames - 1, 0))).sigmoid()
        return spectrogram * mask.unsqueeze(-1)


@register
class MeanMask(SpectrogramModel):
    """A mask from the mean over the whole recording."""

    architecture: ClassVar[str] = "mean-mask"

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(257, 257)

    def forward(self, spectrogram: Tensor) -> Tensor:
        mean = torch.linalg.vector_norm(spectrogram, dim=-1).mean(-1)
        mask: Tensor = self.out(mean).sigmoid()
        return spectrogram * mask.view(*mean.shape, 1, 1)
