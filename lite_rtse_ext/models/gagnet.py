"""GaGNet: glance and gaze, a coarse gain and a fine residual that alternate (Li et al., 2022, arXiv 2106.11789)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models.blocks.causal import Causal, Past, Pasts, run
from lite_rtse_ext.models.names import unwrapped
from lite_rtse_ext.signal import Signal
from lite_rtse_ext.utils.arguments import switch

__all__ = ["GaGNet"]

Norm = Literal["batch", "instance"]

_SIGNAL = Signal(n_fft=320, hop_length=160, window="hann")
_BINS = _SIGNAL.bins
_FLOOR = 1e-6
"""Magnitudes below this value are scaled in proportion. The gradient of the square root is infinite at 0."""

_CHANNELS = 64
_HIDDEN = 256
_STRIDE = (1, 2)  # frames, bins
_INNER_BINS = 4  # of the encoder's output
_DILATIONS = (1, 2, 5, 9)
_GROUPS = 2
_MODULES = 3
_NORMS: Mapping[tuple[str, int], type[nn.Module]] = {
    ("batch", 1): nn.BatchNorm1d,
    ("batch", 2): nn.BatchNorm2d,
    ("instance", 1): nn.InstanceNorm1d,
    ("instance", 2): nn.InstanceNorm2d,
}
_TELLING = "en.meta_unet_list.0.in_conv.0.conv.1.weight"


class GaGNet(SpectrogramModel):
    """The network: 5,948,137 parameters by default, 4,857,577 with ``squeezed=True``.

    It works on the spectrogram with compressed magnitudes, \\|X\\|^0.5. An encoder computes features of every frame.
    Then three modules improve the estimate S in turn, from S = X on: S becomes gain · S + residual. The gain of a bin
    is real and lies between 0 and 1, and the residual is complex.

    With batch norm, no frame of the result depends on future frames in evaluation mode. With instance norm, all frames
    depend on all others.

    Args:
        norm: "batch" or "instance". Instance norm has no running averages.
        squeezed: whether the real and the imaginary residual share their layers except the last.
    """

    architecture: ClassVar[str] = "gagnet"
    signal: Signal = _SIGNAL

    def __init__(self, norm: Norm = "batch", squeezed: bool = False) -> None:
        super().__init__()
        if norm not in ("batch", "instance"):
            raise ValueError(f"norm: expected one of batch, instance, got {norm!r}")
        self.norm, self.squeezed = norm, switch(squeezed, "squeezed")
        self.en = _Encoder(norm)
        self.gags = nn.ModuleList(_GlanceAndGaze(norm, self.squeezed) for _ in range(_MODULES))

    def forward(self, spectrogram: Tensor) -> Tensor:
        self.check_shape(spectrogram)
        return _expanded(self.estimates(_compressed(spectrogram))[-1])

    def estimates(self, compressed: Tensor, pasts: Pasts | None = None) -> list[Tensor]:
        """The estimates of all modules, for a loss that weighs them all.

        Args:
            compressed: spectrogram (B, 161, T, 2) with compressed magnitudes.
            pasts: what the layers need of the earlier frames. None: there are no earlier frames.

        Returns:
            Three spectrograms of the same shape with compressed magnitudes. The last one is the network's result.
        """
        pasts = pasts or Pasts()
        estimate = compressed.permute(0, 3, 1, 2)
        features = self.en(estimate.mT, pasts)
        found = []
        for module in self.gags:
            estimate = module(features, estimate, pasts)
            found.append(estimate.permute(0, 2, 3, 1))
        return found

    @property
    def context_frames(self) -> int | None:
        """0 with batch norm, as the state is complete. None with instance norm."""
        return 0 if self.norm == "batch" else None

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        """Enhance the frames from ``before`` on. The states are the last input frames of every causal layer."""
        if self.context_frames is None:
            raise NotImplementedError("GaGNet with instance norm needs the whole recording, as it averages all frames")
        pasts = Pasts(states)
        enhanced = _expanded(self.estimates(_compressed(spectrogram[:, :, before:]), pasts)[-1])
        return enhanced, pasts.next

    @classmethod
    def recognize(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        found = unwrapped(state, (_TELLING,))
        if _TELLING not in found:
            raise ValueError(f"no parameters of GaGNet: {_TELLING} is missing")
        norm = "batch" if "en.last_conv.1.norm.running_mean" in found else "instance"
        return found, {"norm": norm, "squeezed": "gags.0.gaze_block.tcm_ri.0.tcns.0.in_conv.weight" in found}


def _compressed(spectrogram: Tensor) -> Tensor:
    magnitude = torch.linalg.vector_norm(spectrogram, dim=-1, keepdim=True)
    compressed: Tensor = spectrogram * magnitude.clamp(min=_FLOOR).rsqrt()
    return compressed


def _expanded(compressed: Tensor) -> Tensor:
    spectrogram: Tensor = compressed * torch.linalg.vector_norm(compressed, dim=-1, keepdim=True)
    return spectrogram


class _Norm(nn.Module):
    """Batch or instance norm of 1 or 2 axes, with a scale and a shift."""

    def __init__(self, kind: str, axes: int) -> None:
        super().__init__()
        self.norm = _NORMS[kind, axes](_CHANNELS, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x)
        return normed


class _GatedConv(Causal):
    """A causal convolution over two frames. One half of its channels is multiplied with the sigmoid of the other."""

    def __init__(self, inputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(Past(1), nn.Conv2d(inputs, 2 * _CHANNELS, (2, kernel), _STRIDE))

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        return nn.functional.glu(run(self.conv, x, pasts), dim=1)


def _gated(norm: str, inputs: int = _CHANNELS, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(_GatedConv(inputs, kernel), _Norm(norm, 2), nn.PReLU(_CHANNELS))


def _down(norm: str) -> nn.Sequential:
    conv = nn.Conv2d(_CHANNELS, _CHANNELS, (1, 3), _STRIDE)
    return nn.Sequential(OrderedDict(conv=nn.Sequential(conv, _Norm(norm, 2), nn.PReLU(_CHANNELS))))


def _up(norm: str, inputs: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(inputs, _CHANNELS, (1, 3), _STRIDE)
    return nn.Sequential(OrderedDict(deconv=nn.Sequential(conv, _Norm(norm, 2), nn.PReLU(_CHANNELS))))


class _UNet(Causal):
    """A gated convolution plus a U-Net over the bins of each frame."""

    def __init__(self, norm: str, depth: int, inputs: int, kernel: int) -> None:
        super().__init__()
        self.in_conv = _gated(norm, inputs, kernel)
        self.enco = nn.ModuleList(_down(norm) for _ in range(depth))
        self.deco = nn.ModuleList(_up(norm, _CHANNELS if i == 0 else 2 * _CHANNELS) for i in range(depth))

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        x = whole = run(self.in_conv, x, pasts)
        skips = []
        for down in self.enco:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up in self.deco:
            x = up(x)
            x = torch.cat([x, skips.pop()], 1) if skips else x
        return whole + x


class _Encoder(Causal):
    """From the spectrogram (B, 2, T, 161) to features (B, 256, T)."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        sizes = ((4, 2, 5), (3, _CHANNELS, 3), (2, _CHANNELS, 3), (1, _CHANNELS, 3))
        self.meta_unet_list = nn.ModuleList(_UNet(norm, *size) for size in sizes)
        self.last_conv = _gated(norm)

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        features = run(self.last_conv, run(self.meta_unet_list, x, pasts), pasts)
        return features.transpose(2, 3).flatten(1, 2)


class _TemporalConv(Causal):
    """A dilated causal convolution over the frames, between two convolutions of single frames, plus its input."""

    def __init__(self, norm: str, dilation: int) -> None:
        super().__init__()
        self.in_conv = nn.Conv1d(_HIDDEN, _CHANNELS, 1, bias=False)
        conv = nn.Conv1d(_CHANNELS, _CHANNELS, 3, dilation=dilation, bias=False)
        self.d_conv = nn.Sequential(nn.PReLU(_CHANNELS), _Norm(norm, 1), Past(2 * dilation), conv)
        out = nn.Conv1d(_CHANNELS, _HIDDEN, 1, bias=False)
        self.out_conv = nn.Sequential(nn.PReLU(_CHANNELS), _Norm(norm, 1), out)

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        result: Tensor = x + self.out_conv(run(self.d_conv, self.in_conv(x), pasts))
        return result


class _TemporalGroup(Causal):
    def __init__(self, norm: str) -> None:
        super().__init__()
        self.tcns = nn.ModuleList(_TemporalConv(norm, dilation) for dilation in _DILATIONS)

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        return run(self.tcns, x, pasts)


class _Entry(Causal):
    """The common part of glance and gaze: from the features and the estimate to 256 gated channels."""

    def __init__(self) -> None:
        super().__init__()
        inputs = _CHANNELS * _INNER_BINS + 2 * _BINS
        self.in_conv_main = nn.Conv1d(inputs, _HIDDEN, 1)
        self.in_conv_gate = nn.Sequential(nn.Conv1d(inputs, _HIDDEN, 1), nn.Sigmoid())

    def enter(self, x: Tensor) -> Tensor:
        gated: Tensor = self.in_conv_main(x) * self.in_conv_gate(x)
        return gated


class _Glance(_Entry):
    """A gain (B, 161, T)."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.tcn_g = _stack(norm)
        self.linear_g = nn.Sequential(nn.Conv1d(_HIDDEN, _BINS, 1), nn.Sigmoid())

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        gain: Tensor = self.linear_g(run(self.tcn_g, self.enter(x), pasts))
        return gain


class _Gaze(_Entry):
    """A residual (B, 2, 161, T)."""

    def __init__(self, norm: str, squeezed: bool) -> None:
        super().__init__()
        self.squeezed = squeezed
        if squeezed:
            self.tcm_ri = _stack(norm)
        else:
            self.tcm_r, self.tcm_i = _stack(norm), _stack(norm)
        self.linear_r, self.linear_i = nn.Conv1d(_HIDDEN, _BINS, 1), nn.Conv1d(_HIDDEN, _BINS, 1)

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        x = self.enter(x)
        if self.squeezed:
            real = imag = run(self.tcm_ri, x, pasts)
        else:
            real, imag = run(self.tcm_r, x, pasts), run(self.tcm_i, x, pasts)
        return torch.stack([self.linear_r(real), self.linear_i(imag)], 1)


class _GlanceAndGaze(Causal):
    """One module: the estimate (B, 2, 161, T) becomes gain · estimate + residual."""

    def __init__(self, norm: str, squeezed: bool) -> None:
        super().__init__()
        self.glance_block = _Glance(norm)
        self.gaze_block = _Gaze(norm, squeezed)

    def forward(self, features: Tensor, estimate: Tensor, pasts: Pasts) -> Tensor:
        x = torch.cat([features, estimate.flatten(1, 2)], 1)
        gain, residual = self.glance_block(x, pasts), self.gaze_block(x, pasts)
        improved: Tensor = gain.unsqueeze(1) * estimate + residual
        return improved


def _stack(norm: str) -> nn.ModuleList:
    return nn.ModuleList(_TemporalGroup(norm) for _ in range(_GROUPS))
