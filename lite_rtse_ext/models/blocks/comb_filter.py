"""A learnable comb filter: one of 226 filters for each frame, which keeps what repeats with the period of the pitch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext.signal import Signal

__all__ = ["PITCHES", "CombFilter"]

PITCHES = 226
"""Number of filters: 225 pitches from 62.5 to 500 Hz, and one filter for frames without pitch."""

_LOWEST_HZ = 62.5
_STEP_HZ = 16_000  # the periods of successive filters differ by one sample at this rate


class CombFilter(nn.Module):
    """Filters frames. Each filter has a middle tap and as many taps before and behind it as the longest period has.

    A filter begins with three taps: 1/2 in the middle and 1/4 on both sides, one sample closer than the period. The
    last filter begins with the middle tap alone. All taps are trained.

    Args:
        signal: sizes and window of the frames. Its sample rate is a multiple of 16 kHz.

    Attributes:
        reach: number of samples that the filters need before and behind a frame, 16 ms.
    """

    def __init__(self, signal: Signal) -> None:
        super().__init__()
        self.reach = round(signal.sample_rate / _LOWEST_HZ)
        self.conv = nn.Conv2d(1, PITCHES, (2 * self.reach + 1, 1), bias=False)
        step = signal.sample_rate // _STEP_HZ
        with torch.no_grad():
            self.conv.weight.zero_()
            for pitch, taps in enumerate(self.conv.weight[:, 0, :, 0]):
                voiced = pitch < PITCHES - 1
                taps[self.reach] = 0.5 if voiced else 1.0
                if voiced:
                    away = self.reach - step * pitch - 1
                    taps[self.reach - away] = taps[self.reach + away] = 0.25

    def forward(self, samples: Tensor, pitches: Tensor) -> Tensor:
        """Filter the samples of each frame.

        Args:
            samples: (B, T, size + 2 · reach): each frame with the samples before and behind it.
            pitches: (B, T, 226): weights of the filters. The filter of a frame is their weighted sum.

        Returns:
            (B, T, size), without window.
        """
        batch, frames = samples.shape[:2]
        taps = pitches @ self.conv.weight[:, 0, :, 0]
        flat = samples.reshape(1, batch * frames, -1)
        filtered = functional.conv1d(flat, taps.reshape(batch * frames, 1, -1).to(flat), groups=batch * frames)
        return filtered.view(batch, frames, -1)
