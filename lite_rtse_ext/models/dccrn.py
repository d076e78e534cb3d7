"""DCCRN: a U-Net of complex convolutions around a complex LSTM (Hu et al., Interspeech 2020, arXiv 2008.00264)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models.blocks.complex import (
    ComplexBatchNorm2d,
    ComplexConv2d,
    ComplexConvTranspose2d,
    ComplexLSTM,
)
from lite_rtse_ext.models.names import unwrapped
from lite_rtse_ext.signal import Signal
from lite_rtse_ext.utils.arguments import switch

__all__ = ["DCCRN"]

_SIGNAL = Signal(n_fft=512, hop_length=100, window="hann", window_length=400)
_KERNEL, _STRIDE, _PADDING = (5, 2), (2, 1), (2, 0)  # bins, frames
_NORMS: Mapping[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "complex": ComplexBatchNorm2d}
_TELLING = "encoder.0.0.real_conv.weight"
_TRANSFORM = ("stft.weight", "istft.weight", "istft.window", "istft.enframe")


class DCCRN(SpectrogramModel):
    """The network: 3,671,053 parameters by default, which is the variant "DCCRN-CL" of the publication.

    Each stage of the encoder halves the bins. The complex LSTM runs over the frames. Each stage of the decoder doubles
    the bins again, and takes the encoder's output of the same size as well. The result is a complex mask.

    Each stage of the decoder reads one future frame. The network therefore needs the whole recording.

    Args:
        channels: output channels of the encoder's stages, real and imaginary parts together.
        lstm_units: units of the LSTM, real and imaginary parts together.
        complex_lstm: False: one real LSTM processes all channels.
        norm: "batch" or "complex", the kind of batch norm.
        mask: "E", "C" or "R". E: the mask has a magnitude below 1 and a phase. C: the complex product of the mask and
            the spectrogram. R: the real and the imaginary parts are multiplied separately.
    """

    architecture: ClassVar[str] = "dccrn"
    remark: ClassVar[str] = "needs the whole recording"
    signal: Signal = _SIGNAL
    config_limits: ClassVar[Mapping[str, int]] = {"channels": 2048, "lstm_units": 4096}

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 256, 256, 256),
        lstm_units: int = 256,
        complex_lstm: bool = True,
        norm: Literal["batch", "complex"] = "batch",
        mask: Literal["E", "C", "R"] = "E",
    ) -> None:
        super().__init__()
        _check_choice("norm", norm, _NORMS)
        _check_choice("mask", mask, _MASKS)
        self.channels, self.lstm_units = list(channels), lstm_units
        self.complex_lstm = switch(complex_lstm, "complex_lstm")
        self.norm, self.mask = norm, mask
        bins = (_SIGNAL.n_fft // 2) >> len(self.channels)
        if bins < 1 or not self.channels:
            raise ValueError(f"channels: expected 1 to 8 stages, got {len(self.channels)}")
        widths = [2, *self.channels]
        self.encoder = nn.ModuleList(self._encoder_stage(*pair) for pair in pairwise(widths))
        self._make_lstm(widths[-1] * bins, lstm_units)
        self.decoder = nn.ModuleList(self._decoder_stage(2 * i, o) for i, o in pairwise(widths[::-1]))

    def _encoder_stage(self, inputs: int, outputs: int) -> nn.Sequential:
        conv = ComplexConv2d(inputs, outputs, _KERNEL, _STRIDE, _PADDING)
        return nn.Sequential(conv, _NORMS[self.norm](outputs), nn.PReLU())

    def _decoder_stage(self, inputs: int, outputs: int) -> nn.Sequential:
        conv = ComplexConvTranspose2d(inputs, outputs, _KERNEL, _STRIDE, _PADDING, (1, 0))
        return nn.Sequential(conv, *([_NORMS[self.norm](outputs), nn.PReLU()] if outputs > 2 else []))

    def _make_lstm(self, features: int, units: int) -> None:
        if self.complex_lstm:
            if units % 2 or units < 2:
                raise ValueError(f"lstm_units: expected an even number above 0, got {units}")
            first = ComplexLSTM(features // 2, units // 2)
            self.enhance: nn.Module = nn.Sequential(first, ComplexLSTM(units // 2, units // 2, features // 2))
        else:
            self.enhance = nn.LSTM(features, units, num_layers=2, batch_first=True)
            self.tranform = nn.Linear(units, features)  # spelt as in the public checkpoints

    def forward(self, spectrogram: Tensor) -> Tensor:
        self.check_shape(spectrogram)
        if spectrogram.shape[2] == 0:  # an LSTM takes no empty sequence
            return spectrogram.clone()
        bins = spectrogram.permute(0, 3, 1, 2)[:, :, 1:]  # (B, 2, F, T), without bin 0
        mask = self._masks(bins)
        enhanced = _MASKS[self.mask](mask, bins)
        return functional.pad(enhanced, (0, 0, 1, 0)).permute(0, 2, 3, 1)

    @property
    def look_ahead_frames(self) -> int:
        """One for each stage of the decoder."""
        return len(self.channels)

    def _masks(self, x: Tensor) -> Tensor:
        skips = []
        for stage in self.encoder:
            x = stage(functional.pad(x, (1, 0)))
            skips.append(x)
        x = self._run_lstm(x)
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            (a, b), (skip_a, skip_b) = x.chunk(2, 1), skip.chunk(2, 1)
            # The norm's statistics include the first frame, which is then dropped.
            x = stage(torch.cat([a, skip_a, b, skip_b], 1))[..., 1:]
        return x

    def _run_lstm(self, x: Tensor) -> Tensor:
        batch, channels, bins, frames = x.shape
        sequence = x.flatten(1, 2).mT  # (B, T, channels × bins)
        if self.complex_lstm:
            real, imag = sequence.chunk(2, -1)
            for layer in self.enhance.children():
                real, imag = layer(real, imag)
            sequence = torch.cat([real, imag], -1)
        else:
            sequence = self.tranform(self.enhance(sequence)[0])
        return sequence.mT.reshape(batch, channels, bins, frames)

    @classmethod
    def recognize(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the parameters of a public checkpoint, and the configuration.

        The constants of the public code's transforms are left out. The kind of mask is not in such a file, so that it
        is the default.
        """
        found = unwrapped(state, (_TELLING,))
        stages = 0
        while f"encoder.{stages}.0.real_conv.weight" in found:
            stages += 1
        complex_lstm = "enhance.0.real_lstm.weight_hh_l0" in found
        recurrent = found.get("enhance.0.real_lstm.weight_hh_l0" if complex_lstm else "enhance.weight_hh_l0")
        if not stages or recurrent is None:
            raise ValueError(f"no parameters of DCCRN: {_TELLING} or the LSTM is missing")
        parameters = {name: value for name, value in found.items() if name not in _TRANSFORM}
        return parameters, {
            "channels": [2 * len(found[f"encoder.{i}.0.real_conv.weight"]) for i in range(stages)],
            "lstm_units": recurrent.shape[-1] * (2 if complex_lstm else 1),
            "complex_lstm": complex_lstm,
            "norm": "complex" if "encoder.0.1.Wrr" in found else "batch",
        }


def _mask_polar(mask: Tensor, x: Tensor) -> Tensor:
    """The complex product with the mask, whose magnitude m becomes tanh(m)."""
    power = mask.square().sum(1, keepdim=True)
    magnitude = power.clamp(min=torch.finfo(mask.dtype).tiny).sqrt()  # tanh(m) / m is 1 at 0
    return _mask_complex(mask * (magnitude.tanh() / magnitude), x)


def _mask_complex(mask: Tensor, x: Tensor) -> Tensor:
    (c, d), (re, im) = mask.unbind(1), x.unbind(1)
    return torch.stack([c * re - d * im, c * im + d * re], 1)


_MASKS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"E": _mask_polar, "C": _mask_complex, "R": torch.mul}


def _check_choice(name: str, value: str, known: Mapping[str, object]) -> None:
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
