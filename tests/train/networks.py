"""Networks for tests of training: someone's own, with dropout, and Lite-RTSE; both can be killed at a step.

Their process ends without a word, as by ``kill -9``, in the forward pass of the training step that the environment
variable KILL_AT names (counted from 1, in this process).
"""

from __future__ import annotations

import os
import signal

import torch
from torch import Tensor, nn

from lite_rtse_ext import LiteRTSE


class Mortal(nn.Module):
    """Counts its training steps."""

    steps = 0

    def forward(self, spectrogram: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.steps += 1
            if self.steps == int(os.environ.get("KILL_AT", "0")):
                os.kill(os.getpid(), signal.SIGKILL)
        result: Tensor = super().forward(spectrogram)
        return result


class Mask(nn.Module):
    """A network of one's own: a mask from the magnitudes of a frame."""

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(257, hidden), nn.Dropout(0.5), nn.ReLU(), nn.Linear(hidden, 257))

    def forward(self, spectrogram: Tensor) -> Tensor:
        magnitude = spectrogram.norm(dim=-1).transpose(1, 2)
        mask = self.net(magnitude).sigmoid().transpose(1, 2)
        return spectrogram * mask.unsqueeze(-1)


class MortalMask(Mortal, Mask):
    """With an end."""


class MortalLiteRTSE(Mortal, LiteRTSE):
    """With an end."""


class Steps(nn.Linear):
    """No network from spectrogram to spectrogram."""


class NoModule:
    """Nor a module."""
