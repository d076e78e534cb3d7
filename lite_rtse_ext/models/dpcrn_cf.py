"""A reconstruction of DPCRN-CF: gains in bands, and a learnable comb filter (after Le et al., Interspeech 2023).

Of the published system only the comb filter is public. The sizes of the network, its bands and its pitch estimator are
not. This network has the published number of parameters at 48 kHz, and the parts that the publication names. Its
results are not those of the publication.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext.audio.spectrogram import to_samples
from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models.blocks.bands import FixedLinear, erb_bands
from lite_rtse_ext.models.blocks.causal import Causal, Pasts
from lite_rtse_ext.models.blocks.comb_filter import PITCHES, CombFilter
from lite_rtse_ext.models.blocks.dual_path import along_time
from lite_rtse_ext.models.blocks.dual_path_unet import DualPathUNet
from lite_rtse_ext.signal import Signal
from lite_rtse_ext.utils.dtypes import at_least_float32

__all__ = ["DPCRNCF"]

_BANDS = 64
_WINDOW_S, _HOP_S = 0.032, 0.008
_RATES = (16_000, 48_000)
_FLOOR = 1e-10  # of the energy of a band
_LATE = 2  # frames: the comb filter needs 16 ms, two hops, behind each frame and before it


class DPCRNCF(SpectrogramModel):
    """The reconstruction: 202,570 parameters at 16 kHz, and 433,994 at 48 kHz.

    ::

        E      = log10 of the energies of X in 64 bands
        g, r   = sigmoid(U-Net(E)), spread from the bands to the bins
        p      = softmax(pitch estimator(inner features of the U-Net)), 226 classes
        X_comb = transform of the samples after the comb filter that p selects
        S      = g · ((1 - r) · X + r · X_comb)

    The network sees two silent frames before the recording. An enhanced frame depends on two future frames.

    Args:
        sample_rate: 16000 or 48000 Hz.
    """

    architecture: ClassVar[str] = "dpcrn-cf"
    remark: ClassVar[str] = "a reconstruction"
    config_limits: ClassVar[Mapping[str, int]] = {"sample_rate": max(_RATES)}

    def __init__(self, sample_rate: int = 16_000) -> None:
        super().__init__()
        if sample_rate not in _RATES:
            raise ValueError(f"sample_rate: expected one of {', '.join(map(str, _RATES))}, got {sample_rate!r}")
        self.sample_rate = sample_rate
        size, hop = round(_WINDOW_S * sample_rate), round(_HOP_S * sample_rate)
        self.signal = Signal(sample_rate, size, hop, "hann")
        bands = erb_bands(_BANDS, 0.0, sample_rate / 2, sample_rate / size)
        self.to_bands, self.to_bins = FixedLinear(bands), FixedLinear(bands.T)
        self.unet = DualPathUNet(_BANDS, 1, 2, (16, 16, 16, 24, 24), 32)
        self.pitch = _PitchEstimator(24, self.unet.inner_bins)
        self.comb = CombFilter(self.signal)

    @property
    def context_frames(self) -> int:
        return 0

    @property
    def look_ahead_frames(self) -> int:
        return _LATE

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        """Enhance the frames from ``before`` on, two frames late. The states are those of all causal layers."""
        pasts = Pasts(states)
        around = pasts.before(spectrogram[:, :, before:].permute(0, 3, 2, 1), 2 * _LATE)  # (B, 2, 4 + T, F)
        real, imag = around[:, :, _LATE:-_LATE].unbind(1)
        # float16 has no 1e-10. The optimizer of the ONNX exporter takes a sum with it for one with 0 and leaves it out.
        energies = self.to_bands(real.square() + imag.square()).to(at_least_float32(real.dtype)).clamp(min=_FLOOR)
        gains, inner = self.unet(energies.log10().to(real).unsqueeze(1), pasts)
        gain, strength = self.to_bins(gains.sigmoid()).unbind(1)
        comb_real, comb_imag = self._comb(around, self.pitch(inner, pasts)).unbind(1)
        mixed = (real + strength * (comb_real - real), imag + strength * (comb_imag - imag))
        return torch.stack([gain * part for part in mixed], -1).transpose(1, 2), pasts.next

    def _comb(self, around: Tensor, pitches: Tensor) -> Tensor:
        """The spectra (B, 2, T, F) of the filtered frames, from the spectra of the frames around each of them."""
        wide = at_least_float32(around.dtype)
        window = torch.tensor(self.signal.analysis_window, dtype=wide, device=around.device)
        samples = _samples_around(around.to(wide), window, self.signal)
        filtered = self.comb(samples, pitches).to(wide) * window
        return torch.view_as_real(torch.fft.rfft(filtered)).movedim(-1, 1).to(around.dtype)


class _PitchEstimator(Causal):
    """Weights (B, T, 226) of the pitches, from the inner features of the U-Net."""

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 1)
        self.gru = nn.GRU(4 * bins, 48, batch_first=True)
        self.fc = nn.Linear(48, PITCHES)

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        features = self.conv(x).transpose(1, 2).flatten(2).unsqueeze(1)  # (B, 1, T, channels of all bins)
        logits: Tensor = self.fc(along_time(self.gru, features, pasts).squeeze(1))
        return logits.softmax(-1)


def _samples_around(spectra: Tensor, window: Tensor, signal: Signal) -> Tensor:
    """The samples of each frame with those of two hops before and behind it, from the five frames around it.

    The first and the last of these samples are at the edge of a single frame's window. There the division by the
    window magnifies errors. The window that follows the comb filter makes them small again: sample n of the filtered
    frame needs no sample that lies further out in that window than n.

    Args:
        spectra: (B, 2, T + 4, F).
        window: the window of the signal.
        signal: sizes of the frames.

    Returns:
        (B, T, size + 4 hops).
    """
    frames, hop, size = spectra.shape[2] - 2 * _LATE, signal.hop_length, signal.window_length
    complex_spectra = torch.view_as_complex(spectra.movedim(1, -1).contiguous()).mT
    windowed = to_samples(complex_spectra, signal) * window
    places = [(late, (hop * late, hop * (2 * _LATE - late))) for late in range(2 * _LATE + 1)]
    total = torch.stack([functional.pad(windowed[:, late : late + frames], place) for late, place in places]).sum(0)
    power = torch.stack([functional.pad(window.square(), place) for _, place in places]).sum(0)
    assert total.shape[-1] == size + 2 * _LATE * hop
    return total / torch.where(power > 0, power, 1)
