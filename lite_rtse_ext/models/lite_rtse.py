"""Lite-RTSE on the fused operators. It enhances spectrograms and waveforms, and reads and writes its checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import LSTM, Linear
from typing_extensions import Self

from lite_rtse_ext import nn, reference
from lite_rtse_ext.enhance.waveform import enhance_waveform
from lite_rtse_ext.interface import in_pieces
from lite_rtse_ext.models import checkpoint, min_gain
from lite_rtse_ext.models.checkpoint import CheckpointError
from lite_rtse_ext.models.names import network_parameters
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.nn.linear import run_linear
from lite_rtse_ext.nn.lstm import run_lstm
from lite_rtse_ext.reference.operands import are_plain
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.arguments import Real, sample_rate_hz
from lite_rtse_ext.utils.hooks import has_hooks
from lite_rtse_ext.utils.tracing import NotScriptable, is_recorded

__all__ = ["LiteRTSE"]

PIECE_FRAMES = 640
"""The number of frames, summed over utterances, that inference on the CPU processes at once. It is about 10 s of audio.

The largest tensor has 32 channels of these frames and takes 20 MiB. The C library maps fresh memory for each tensor of
32 MiB or more.
"""


class LiteRTSE(NotScriptable, reference.LiteRTSE):
    """The network of :class:`lite_rtse_ext.reference.LiteRTSE` with fused blocks.

    Its constructor's arguments and its parameters are the same. So is its result, up to rounding.

    On the CPU and without gradients, a long or large input is processed in pieces. The memory of a piece is reused. The
    memory of all frames at once would be mapped again in every call. Hooks on inner modules then run once for each
    piece.

    ::

        model = LiteRTSE.from_pretrained()                 # or from_checkpoint("my.safetensors")
        enhanced = model.enhance(noisy)                    # waveform, 16 kHz
        spectrogram = model(noisy_spectrogram)             # (B, 257, T, 2) or complex (B, 257, T)
    """

    conv_block = nn.ConvBlock
    multi_order_conv = nn.MultiOrderConv
    reconstruction = nn.MaskResidual
    config_limits: ClassVar[Mapping[str, int]] = {"bins": 4097, "channels": 1024, "order": 10}  # as in the engine

    def _compute(self, spectrogram: Tensor) -> Tensor:
        if not self._takes_pieces(spectrogram):
            return super()._compute(spectrogram)
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

    def run_branch(self, levels: Tensor) -> Tensor:
        last: Any = self.msmo_conv[2].pwconvN
        if self._branch_is_constant(levels, last):
            constant: Tensor = last.bias.to(levels).expand_as(levels)
            return constant
        return super().run_branch(levels)

    def _branch_is_constant(self, levels: Tensor, last: Any) -> bool:
        """Whether the branch's output is the bias of its last layer, as that layer's weights are zero.

        Only inference on the CPU asks. On another device, the answer would wait for all that runs there.
        """
        if levels.device.type != "cpu" or is_recorded() or torch.is_grad_enabled():
            return False
        if not isinstance(last.weight, Tensor) or last.bias is None or last.weight.any():  # quantized: no tensor
            return False
        if not are_plain([last]):
            return False
        # A hook or a replaced forward changes what the module computes.
        return not any(has_hooks(module) or "forward" in vars(module) for module in self.msmo_conv.modules())

    def run_lstm(self, lstm: LSTM, x: Tensor, state: Any) -> Any:
        return run_lstm(lstm, x, state)

    def run_linear(self, layer: Linear, x: Tensor) -> Tensor:
        return run_linear(layer, x)

    def _takes_pieces(self, spectrogram: Tensor) -> bool:
        # A recorded graph must be valid for any length. A test of this input's length would become a condition in it.
        if spectrogram.device.type != "cpu" or is_recorded() or type(spectrogram.shape[2]) is not int:
            return False
        if torch.is_grad_enabled() and any(t.requires_grad for t in (spectrogram, *self.parameters())):
            return False
        return spectrogram.shape[0] * spectrogram.shape[2] > PIECE_FRAMES

    def enhance(
        self,
        waveform: Tensor,
        sample_rate: Real = SAMPLE_RATE_HZ,
        *,
        attenuation_limit_db: Real | None = None,
        wet: Real = 1.0,
        high_pass: bool = True,
    ) -> Tensor:
        """Enhance speech.

        The network runs in its own dtype on its own device, without gradients. Its result does not depend on
        ``train()`` or ``eval()``. The mode is therefore not changed.

        Args:
            waveform: (..., samples), full scale 1, any floating dtype. Each leading index is a separate utterance.
            sample_rate: sample rate of the waveform in Hz. It must be 16000. Resample other waveforms first.
            attenuation_limit_db: maximum attenuation of the noise in dB. None and infinity mean no limit.
            wet: share of the enhanced signal in the result, 0 to 1. The rest is the noisy signal.
            high_pass: whether a high-pass at 2 Hz first removes a constant offset from the waveform. See
                :func:`lite_rtse_ext.audio.remove_offset`.

        Returns:
            The enhanced waveform. It has the shape, dtype and device of ``waveform``.

        Raises:
            FloatingPointError: the network's result contains a NaN or an infinity.
            TypeError: the waveform does not have a floating dtype, or another argument has a wrong type.
            ValueError: the sample rate is not 16000. ``wet`` or ``attenuation_limit_db`` is out of range. The waveform
                has no dimensions, is laid out as (samples, channels), or contains a sample that is not finite.
        """
        if sample_rate_hz(sample_rate) != SAMPLE_RATE_HZ:
            raise ValueError(f"sample_rate: expected {SAMPLE_RATE_HZ} Hz, got {sample_rate}; resample first")
        return enhance_waveform(self, waveform, attenuation_limit_db=attenuation_limit_db, wet=wet, high_pass=high_pass)

    @classmethod
    def from_pretrained(cls, *, extra_reduction_db: Real = 0.0) -> Self:
        """Build the network with the trained parameters that the package contains, on the CPU, in the default dtype.

        The package's ``weights/MODEL_CARD.md`` describes their training data and evaluation. Nothing is downloaded.

        Args:
            extra_reduction_db: as in :meth:`from_checkpoint`.

        Returns:
            The network.

        Raises:
            FileNotFoundError: this version of the package contains no trained parameters.
            TypeError, ValueError: ``extra_reduction_db`` is not a number of dB from 0 up.
        """
        return cls.from_checkpoint(pretrained_path(), extra_reduction_db=extra_reduction_db)

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str], *, extra_reduction_db: Real = 0.0) -> Self:
        """Build a network from a checkpoint, on the CPU, in the default dtype.

        The configuration is read from the file. If the file states none, it is inferred from the parameters' shapes.

        Args:
            path: a safetensors or PyTorch file.
            extra_reduction_db: by how much the minimum gain of the parameters is lowered, in dB; see
                :meth:`reduce_more`.

        Returns:
            The network.

        Raises:
            OSError: the file does not exist or cannot be read.
            CheckpointError: the file is not a checkpoint of this network. The message gives the reason.
            TypeError, ValueError: ``extra_reduction_db`` is not a number of dB from 0 up, or is above 0 and the file
                does not state its minimum gain.
        """
        extra_db = min_gain.extra_reduction(extra_reduction_db)
        model = checkpoint.load_model(path, cls)
        if not isinstance(model, cls):
            raise CheckpointError(f"{path}: expected {cls.architecture} alone, got one behind an input gain")
        try:
            model.reduce_more(extra_db)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return model

    def reduce_more(self, extra_reduction_db: Real) -> None:
        """Turn noise down by more, in place. More of the speech is then lost, too.

        Trained parameters contain a minimum gain, so that speech which the network takes for noise is not lost. This
        method lowers it. Noise that the network itself lets through stays. See :mod:`lite_rtse_ext.models.min_gain`.

        Args:
            extra_reduction_db: by how much more at most, in dB, from 0 up. Infinity: there is no minimum gain then.

        Raises:
            TypeError: ``extra_reduction_db`` is not a real number. Or it is above 0, and ``to_mag`` is pruned,
                parametrized or quantized.
            ValueError: it is negative or NaN, or it is above 0 and :attr:`min_gain` is not known.
        """
        extra_db = min_gain.extra_reduction(extra_reduction_db)
        lower = min_gain.reduced(self.min_gain, extra_db)
        if lower and extra_db:
            min_gain.change(self, lower)

    def load_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Load parameters of this configuration. Every name and shape must fit, otherwise nothing is changed.

        Values are converted to the network's dtype and device.

        Args:
            path: a safetensors or PyTorch file. See :func:`lite_rtse_ext.models.checkpoint.read_state_dict`.

        Raises:
            OSError: the file does not exist or cannot be read.
            CheckpointError: the file is not a checkpoint, or is one of another network. The message gives the reason.
        """
        checkpoint.load_parameters(self, path)

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Save parameters and configuration as safetensors.

        Args:
            path: the file to write. An existing file is replaced only once the new file is complete.

        Raises:
            OSError: the folder does not exist or cannot be written to, or ``path`` is a folder.
        """
        checkpoint.save_model(self, path)

    @classmethod
    def recognize(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        parameters = network_parameters(state)
        return parameters, infer_config(parameters)


def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer the network's configuration from the shapes of its parameters.

    Args:
        state: parameters by the network's own names.

    Returns:
        Arguments of the constructor: ``bins``, ``channels``, ``order`` and ``depthwise``.

    Raises:
        CheckpointError: the parameters are not those of Lite-RTSE, or their shapes do not tell the configuration.
    """
    if "input_mean" in state:
        raise CheckpointError("expected a file that states compression and mask_branch, as input_mean is in it")
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
