"""DPCRN: a U-Net of causal convolutions around two dual paths of LSTMs (Le et al., Interspeech 2021)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models.blocks.causal import Pasts
from lite_rtse_ext.models.blocks.dual_path_unet import DualPathUNet
from lite_rtse_ext.signal import Signal

__all__ = ["DPCRN"]

_SIGNAL = Signal(n_fft=400, hop_length=200, window="sine")


class DPCRN(SpectrogramModel):
    """The network: 805,798 parameters.

    The input is the spectrogram of each frame after a layer norm. The result is a complex mask without activation.

    The public weights are for TensorFlow. Its LSTMs have a piecewise linear sigmoid in their gates and one bias, so
    that these weights do not fit PyTorch's LSTMs.
    """

    architecture: ClassVar[str] = "dpcrn"
    signal: Signal = _SIGNAL

    def __init__(self) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm((_SIGNAL.bins, 2), 1e-3)
        self.unet = DualPathUNet(_SIGNAL.bins, 2, 2, (32, 32, 32, 64, 128), 128)

    @property
    def context_frames(self) -> int:
        return 0

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        """Enhance the frames from ``before`` on. The states are those of all causal layers."""
        pasts = Pasts(states)
        spectrum = spectrogram[:, :, before:].transpose(1, 2)  # (B, T, F, 2)
        mask, _ = self.unet(self.input_norm(spectrum).permute(0, 3, 1, 2), pasts)
        (mask_real, mask_imag), (real, imag) = mask.unbind(1), spectrum.unbind(-1)
        product = (real * mask_real - imag * mask_imag, imag * mask_real + real * mask_imag)
        return torch.stack(product, -1).transpose(1, 2), pasts.next
