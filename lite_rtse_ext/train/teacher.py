"""A teacher: a trained network whose results are targets of a training, beside the clean signals.

The clean signals of a small collection have few voices, and a network learns these by heart. What a teacher that knows
many voices makes of the same mixtures depends less on the voice.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from lite_rtse_ext.audio.spectrogram import istft, stft
from lite_rtse_ext.data.dataset import Example
from lite_rtse_ext.fusion import fuse
from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models import load_model
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.train.loss import si_snr_db
from lite_rtse_ext.train.recipe import RecipeError, TeacherRecipe

__all__ = ["Teacher", "load_teacher"]

_SILENCE = 1e-8


class Teacher:
    """A network that makes targets.

    Args:
        network: takes spectrograms of waveforms at 16 kHz.
        level_dbfs: see :class:`~lite_rtse_ext.train.recipe.TeacherRecipe`.
        fingerprint: identifies the network, for the checkpoints of the run.
    """

    def __init__(self, network: SpectrogramModel, level_dbfs: float, fingerprint: str = "") -> None:
        self.network, self.fingerprint = network.eval().requires_grad_(False), fingerprint
        self._level = 10 ** (level_dbfs / 20)

    def to(self, device: torch.device) -> None:
        self.network.to(device)

    @torch.no_grad()
    def targets(self, batch: Example) -> Tensor:
        """Enhance the noisy waveforms ``(B, samples)`` of a batch. The result has the same shape and levels.

        An example keeps its clean waveform as target if the teacher's result is no better than the noisy waveform, by
        SI-SNR, or if there is no speech.
        """
        scale = self._level / batch.noisy.square().mean(-1, keepdim=True).sqrt().clamp(min=_SILENCE)
        noisy, clean = batch.noisy * scale, batch.clean * scale
        enhanced = self._enhance(noisy)
        is_better = (si_snr_db(enhanced, clean) > si_snr_db(noisy, clean)) & clean.any(-1)
        return torch.where(is_better.unsqueeze(-1), enhanced / scale, batch.clean)

    def _enhance(self, noisy: Tensor) -> Tensor:
        """Enhance waveforms without any check of the result, which a CUDA graph can't contain."""
        signal = self.network.signal
        output = self.network(torch.view_as_real(stft(noisy, signal)))
        return istft(torch.view_as_complex(output.contiguous()), noisy.shape[-1], signal)


def load_teacher(options: TeacherRecipe, fused: bool = True) -> Teacher | None:
    """Load the teacher of a recipe. Returns None if the recipe has none.

    Args:
        options: section teacher of the recipe.
        fused: whether the network runs on the fused operators.

    Raises:
        OSError, CheckpointError: the checkpoint cannot be read.
        RecipeError: the network is for another sample rate.
    """
    if not options.checkpoint or options.weight == 0:
        return None
    path = Path(options.checkpoint)
    with torch.random.fork_rng([]):  # the random numbers belong to the network that is trained
        network = load_model(path)
    if network.signal.sample_rate != SAMPLE_RATE_HZ:
        raise RecipeError(
            f"teacher.checkpoint: expected a network for {SAMPLE_RATE_HZ} Hz, the rate of prepared recordings, "
            f"got one for {network.signal.sample_rate} Hz"
        )
    if fused:
        fuse(network)
    return Teacher(network, options.level_dbfs, hashlib.sha256(path.read_bytes()).hexdigest())
