"""Lite-RTSE on the fused operators: from spectrogram to spectrogram, from waveform to waveform, and its checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import LSTM
from typing_extensions import Self

from lite_rtse_ext import nn, reference
from lite_rtse_ext.enhance.waveform import enhance_waveform
from lite_rtse_ext.interface import in_pieces
from lite_rtse_ext.models import checkpoint
from lite_rtse_ext.models.checkpoint import CheckpointError
from lite_rtse_ext.models.names import network_parameters
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.nn.lstm import run_lstm
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.arguments import Real, sample_rate_hz
from lite_rtse_ext.utils.tracing import NotScriptable, is_recorded

__all__ = ["LiteRTSE"]

PIECE_FRAMES = 640
"""Frames of all utterances together that inference on the CPU takes at once, 10 s. The largest tensor, 32 channels of
them, takes 20 MiB; from 32 MiB on the C library maps fresh memory for each."""


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
    config_limits: ClassVar[Mapping[str, int]] = {"bins": 4097, "channels": 1024, "order": 10}  # the engine's, too

    def forward(self, spectrogram: Tensor) -> Tensor:
        """As the reference's. On the CPU and without gradients what is long or many goes through in pieces, which is
        exact up to rounding: the memory of all frames at once would be fresh in every call, and that of a piece is
        reused. Hooks on what is inside then run once a piece.
        """
        self._check(spectrogram)
        if not self._takes_pieces(spectrogram):
            return super().forward(spectrogram)
        enhanced = torch.empty_like(spectrogram)
        together = max(1, PIECE_FRAMES // spectrogram.shape[2])
        for first in range(0, len(spectrogram), together):
            some = slice(first, first + together)
            self._piece_by_piece(spectrogram[some], enhanced[some])
        return enhanced

    def _piece_by_piece(self, spectrogram: Tensor, enhanced: Tensor) -> None:
        def read(start: int, stop: int) -> Tensor:
            return spectrogram[:, :, start:stop]

        for start, stop, piece in in_pieces(self, spectrogram.shape[2], PIECE_FRAMES, read):
            enhanced[:, :, start:stop] = piece

    def run_lstm(self, lstm: LSTM, x: Tensor, state: Any) -> Any:
        return run_lstm(lstm, x, state)

    def _takes_pieces(self, spectrogram: Tensor) -> bool:
        # A graph is to hold for any length: the question how long this one is would become a condition in it.
        if spectrogram.device.type != "cpu" or is_recorded() or type(spectrogram.shape[2]) is not int:
            return False
        if torch.is_grad_enabled() and any(t.requires_grad for t in (spectrogram, *self.parameters())):
            return False
        return spectrogram.shape[0] * spectrogram.shape[2] > PIECE_FRAMES

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
        return enhance_waveform(self, waveform, high_pass=high_pass)

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
        """Build a network from a checkpoint, on the CPU, in the default dtype.

        The file says its configuration. The shapes tell that of a file from elsewhere.

        Raises:
            OSError: no such file, or it can't be read.
            CheckpointError: not a checkpoint of this network; the message says why.
        """
        model = checkpoint.load_model(path, cls)
        if not isinstance(model, cls):
            raise CheckpointError(f"{path}: expected {cls.architecture} alone, got one behind an input gain")
        return model

    def load_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Load parameters of this configuration, strictly: every name and shape must fit, or nothing is changed.

        Reads safetensors and PyTorch files, see :func:`lite_rtse_ext.models.checkpoint.read_state_dict`. Values are
        converted to the network's dtype and device.

        Raises:
            OSError: no such file, or it can't be read.
            CheckpointError: not a checkpoint, or one of another network; the message says why.
        """
        checkpoint.load_parameters(self, path)

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Save parameters and configuration as safetensors; ``path`` is replaced only once the new file is complete.

        Raises:
            OSError: the folder doesn't exist or can't be written to, or ``path`` is a folder.
        """
        checkpoint.save_model(self, path)

    @classmethod
    def recognize(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        parameters = network_parameters(state)
        return parameters, infer_config(parameters)


def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tell the network's configuration from the shapes of its parameters.

    Raises:
        CheckpointError: the parameters are not Lite-RTSE's.
    """
    shapes = {}
    for key, dims in (("fc1.weight", 2), ("msmo_conv.0.conv.2.weight", 4), ("msmo_conv.2.pwconvN.weight", 4)):
        if key not in state:
            raise CheckpointError(f"no parameters of Lite-RTSE: {key} is missing")
        if state[key].dim() != dims:
            raise CheckpointError(f"{key} must have {dims} dimensions, but is {tuple(state[key].shape)}")
        shapes[key] = tuple(state[key].shape)
    stages = 0
    while f"msmo_conv.2.pwconvs.{stages}.weight" in state:
        stages += 1
    return {
        "bins": shapes["fc1.weight"][0],
        "channels": shapes["msmo_conv.2.pwconvN.weight"][1],
        "order": stages + 1,
        "depthwise": shapes["msmo_conv.0.conv.2.weight"][1] == 1,
    }
