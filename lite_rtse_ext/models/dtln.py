"""DTLN: a mask of the spectrum, then one of learnt features (Westhausen and Meyer, Interspeech 2020)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models.blocks.causal import Pasts
from lite_rtse_ext.models.blocks.dual_path import along_time
from lite_rtse_ext.signal import Signal
from lite_rtse_ext.utils.dtypes import at_least_float32

__all__ = ["DTLN"]

_SIGNAL = Signal(hop_length=128, window="rectangular")
_FEATURES, _UNITS = 256, 128


class DTLN(SpectrogramModel):
    """The network: 988,801 parameters. With one bias in each LSTM, as in TensorFlow, they are 986,753.

    The first stage estimates a gain for each bin from the magnitudes. The second stage takes the samples of each
    masked frame, maps them to features, and estimates a gain for each feature. A frame has no window.

    The public weights are for TensorFlow. ``python -m benchmarks.peers.dtln`` writes them as a checkpoint.
    """

    architecture: ClassVar[str] = "dtln"
    signal: Signal = _SIGNAL

    def __init__(self) -> None:
        super().__init__()
        self.spectral = _Mask(_SIGNAL.bins)
        self.encoder = nn.Linear(_SIGNAL.n_fft, _FEATURES, bias=False)
        self.norm = nn.LayerNorm(_FEATURES, 1e-7)
        self.learnt = _Mask(_FEATURES)
        self.decoder = nn.Linear(_FEATURES, _SIGNAL.n_fft, bias=False)

    @property
    def context_frames(self) -> int:
        return 0

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        """Enhance the frames from ``before`` on. The states are those of the four LSTMs."""
        pasts, dtype = Pasts(states), spectrogram.dtype
        wide = at_least_float32(dtype)  # for the transforms
        frames = spectrogram[:, :, before:].transpose(1, 2).to(wide)
        spectrum = torch.view_as_complex(frames.contiguous())  # (B, T, F)
        masked = spectrum * self.spectral(spectrum.abs().to(dtype), pasts)
        features = self.encoder(torch.fft.irfft(masked, _SIGNAL.n_fft).to(dtype))
        samples = self.decoder(features * self.learnt(self.norm(features), pasts))
        # The published synthesis adds the overlapping frames. That of the signal divides by their number.
        enhanced = torch.fft.rfft(samples.to(wide) * _SIGNAL.overlap)
        return torch.view_as_real(enhanced).transpose(1, 2).to(dtype), pasts.next


class _Mask(nn.Module):
    """Gains between 0 and 1 for the values of each frame, from these and all earlier frames."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.lstm1 = nn.LSTM(values, _UNITS, batch_first=True)
        self.lstm2 = nn.LSTM(_UNITS, _UNITS, batch_first=True)
        self.dense = nn.Linear(_UNITS, values)

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        y = x.unsqueeze(1)  # one sequence
        for lstm in (self.lstm1, self.lstm2):
            y = along_time(lstm, y, pasts)
        gains: Tensor = self.dense(y.squeeze(1)).sigmoid()
        return gains
