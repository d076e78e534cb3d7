"""Lite-RTSE on the fused operators: from spectrogram to spectrogram, from waveform to waveform, and its checkpoints."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch.nn import LSTM
from typing_extensions import Self

from lite_rtse_ext import nn, reference
from lite_rtse_ext.audio.high_pass import remove_offset
from lite_rtse_ext.audio.spectrogram import istft, stft
from lite_rtse_ext.enhance.segments import NOT_FINITE, look_back_frames, placement
from lite_rtse_ext.models import checkpoint
from lite_rtse_ext.models.checkpoint import CheckpointError
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.nn.lstm import run_lstm
from lite_rtse_ext.signal import BINS, HOP_LENGTH, SAMPLE_RATE_HZ
from lite_rtse_ext.utils.arguments import Real, sample_rate_hz, switch
from lite_rtse_ext.utils.tracing import NotScriptable, is_recorded

__all__ = ["LiteRTSE"]

PIECE_FRAMES = 640
"""Frames of all utterances together that inference on the CPU takes at once, 10 s. The largest tensor, 32 channels of
them, takes 20 MiB; from 32 MiB on the C library maps fresh memory for each."""

_MOST_CHANNELS, _FEWEST_SAMPLES = 64, HOP_LENGTH


class LiteRTSE(NotScriptable, reference.LiteRTSE):
    """The network of :class:`lite_rtse_ext.reference.LiteRTSE`, its blocks fused: same arguments, same parameters.

    ::

        model = LiteRTSE.from_pretrained()                 # or from_checkpoint("my.safetensors")
        enhanced = model.enhance(noisy)                    # waveform, 16 kHz
        spectrogram = model(noisy_spectrogram)             # (B, 257, T, 2) or complex (B, 257, T)
    """

    conv_block = nn.ConvBlock
    multi_order_conv = nn.MultiOrderConv
    reconstruction = nn.MaskResidual

    def forward(self, spectrogram: Tensor) -> Tensor:
        """As the reference's. On the CPU and without gradients what is long or many goes through in pieces, which is
        exact up to rounding: the memory of all frames at once would be fresh in every call, and that of a piece is
        reused. Hooks on what is inside then run once a piece.
        """
        self._check(spectrogram)
        if not self._takes_pieces(spectrogram):
            return super().forward(spectrogram)
        batch, frames = spectrogram.shape[0], spectrogram.shape[2]
        enhanced = torch.empty_like(spectrogram)
        together = max(1, PIECE_FRAMES // frames)
        look_back = look_back_frames(self)
        for first in range(0, batch, together):
            states: reference.States = (None, None)
            start = 0
            while start < frames:
                before = min(start, look_back)
                stop = start - before + max(PIECE_FRAMES, look_back + 1)  # all of one size: their memory fits the next
                piece = spectrogram[first : first + together, :, start - before : stop]
                enhanced[first : first + together, :, start:stop], states = self.advance(piece, before, states)
                start = stop
        return enhanced

    def run_lstm(self, lstm: LSTM, x: Tensor, state: Any) -> Any:
        return run_lstm(lstm, x, state)

    def _takes_pieces(self, spectrogram: Tensor) -> bool:
        # A graph is to hold for any length: the question how long this one is would become a condition in it.
        if spectrogram.device.type != "cpu" or is_recorded() or type(spectrogram.shape[2]) is not int:
            return False
        if torch.is_grad_enabled() and any(t.requires_grad for t in (spectrogram, *self.parameters())):
            return False
        return spectrogram.shape[0] * spectrogram.shape[2] > PIECE_FRAMES

    @torch.no_grad()
    def enhance(self, waveform: Tensor, sample_rate: Real = SAMPLE_RATE_HZ, *, high_pass: bool = True) -> Tensor:
        """Enhance speech.

        The network runs in its own dtype on its own device, without gradients. Nothing in it depends on ``train()`` or
        ``eval()``, so the mode is left alone.

        Args:
            waveform: (..., samples), full scale 1, any floating dtype; each leading index is an utterance of its own.
            sample_rate: of the waveform, in Hz. Only 16000; resample others first.
            high_pass: whether a high-pass at 2 Hz takes a constant offset out of the waveform first; see
                :func:`lite_rtse_ext.audio.remove_offset`.

        Returns:
            The enhanced waveform: shape, dtype and device of ``waveform``.

        Raises:
            FloatingPointError: the network's result has a NaN or an infinity.
            TypeError: the waveform is not of a floating dtype, or another argument of another type.
            ValueError: another sample rate, a waveform without dimensions, (samples, channels), or with a sample that
                is not finite, or a network not of 257 bins.
        """
        if sample_rate_hz(sample_rate) != SAMPLE_RATE_HZ:
            raise ValueError(f"sample_rate must be {SAMPLE_RATE_HZ} Hz, but is {sample_rate}: resample first")
        if self.bins != BINS:
            raise ValueError(f"enhance needs a network of {BINS} bins, but this one has {self.bins}")
        _check_waveform(waveform)
        if waveform.numel() == 0:
            return waveform.clone()
        device, dtype = placement(self)
        wide = torch.promote_types(waveform.dtype, torch.float32)  # the transform knows no half type
        batch = waveform.to(device, wide).reshape(-1, waveform.shape[-1])
        batch = remove_offset(batch) if switch(high_pass, "high_pass") else batch
        spectrogram = torch.view_as_real(stft(batch)).to(dtype)
        enhanced = torch.view_as_complex(self(spectrogram).to(wide).contiguous())
        enhanced = istft(enhanced, waveform.shape[-1])
        if not (is_recorded() or enhanced.isfinite().all()):
            raise FloatingPointError(NOT_FINITE)
        return enhanced.reshape(waveform.shape).to(waveform)

    @classmethod
    def from_pretrained(cls) -> Self:
        """The network with the trained parameters that come with the package; ``weights/MODEL_CARD.md`` there says what
        they were trained on and what they are worth. Nothing is fetched. On the CPU, in the default dtype.

        Raises:
            FileNotFoundError: this version comes without any.
        """
        return cls.from_checkpoint(pretrained_path())

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str]) -> Self:
        """Build a network from a checkpoint, whose shapes tell its configuration. On the CPU, in the default dtype.

        Raises:
            OSError: no such file, or it can't be read.
            CheckpointError: not a checkpoint of this network; the message says why.
        """
        state = checkpoint.read_state_dict(path)
        try:
            return checkpoint.build(cls, state)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def load_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Load parameters of this configuration, strictly: every name and shape must fit, or nothing is changed.

        Reads safetensors and PyTorch files, see :func:`lite_rtse_ext.models.checkpoint.read_state_dict`. Values are
        converted to the network's dtype and device.

        Raises:
            OSError: no such file, or it can't be read.
            CheckpointError: not a checkpoint, or one of another network; the message says why.
        """
        state = checkpoint.read_state_dict(path)
        try:
            checkpoint.load_into(self, state)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Save the parameters as safetensors; ``path`` is replaced only once the new file is complete.

        Raises:
            OSError: the folder doesn't exist or can't be written to, or ``path`` is a folder.
        """
        checkpoint.write_state_dict(path, self.state_dict())


def _check_waveform(waveform: Tensor) -> None:
    if not waveform.is_floating_point():
        raise TypeError(f"waveform must be of a floating dtype, full scale 1, but is {waveform.dtype}")
    if waveform.dim() == 0:
        raise ValueError("waveform must be (..., samples), but has no dimension")
    shape = tuple(waveform.shape)
    if len(shape) > 1 and 0 < shape[-1] <= _MOST_CHANNELS < _FEWEST_SAMPLES <= shape[-2]:
        raise ValueError(
            f"waveform must be (..., samples), but is {shape}: {shape[-2]} utterances of {shape[-1]} samples. "
            "If it is (samples, channels), pass waveform.mT"
        )
    if not (is_recorded() or waveform.isfinite().all()):
        first = waveform.isfinite().logical_not().nonzero()[0].tolist()
        where = f"sample {first[-1]}" + (f" of utterance {', '.join(map(str, first[:-1]))}" if len(first) > 1 else "")
        raise ValueError(f"waveform must be finite, but {where} is {waveform[tuple(first)].item()}")
