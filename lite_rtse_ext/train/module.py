"""Lightning module that trains any network that maps a spectrogram to a spectrogram."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor

from lite_rtse_ext.audio.high_pass import remove_offset
from lite_rtse_ext.audio.spectrogram import istft, stft
from lite_rtse_ext.data.dataset import Example
from lite_rtse_ext.enhance.waveform import enhance_waveform
from lite_rtse_ext.fusion import fuse
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.train.graph import StepGraph, step_graph
from lite_rtse_ext.train.loss import EnhancementLoss, Losses, si_snr_db
from lite_rtse_ext.train.recipe import Recipe
from lite_rtse_ext.train.teacher import Teacher
from lite_rtse_ext.train.wrapper import ScaledLiteRTSE, delay_branch

__all__ = ["LOG_EVERY_STEPS", "Enhancer"]

LOG_EVERY_STEPS = 20

_SILENCE_DB, _LOUD_DB = -80.0, 20.0


class Enhancer(lightning.LightningModule):
    """A network with its loss, optimizer and validation metrics.

    Args:
        net: maps a noisy spectrogram ``(B, bins, T, 2)`` of its own signal to an enhanced one of the same shape.
        recipe: the recipe. Its section data is not used.
        teacher: the teacher of the recipe, if it has one. Checkpoints do not contain it.
    """

    def __init__(self, net: InputGain | ScaledLiteRTSE, recipe: Recipe, teacher: Teacher | None = None) -> None:
        super().__init__()
        self.net = net
        self.recipe = recipe
        self.teacher = teacher
        self.loss = EnhancementLoss(recipe.loss, net.signal)
        self.graph: StepGraph | None = None
        if recipe.run.compile:
            net.compile()  # in place, so that parameters keep their names
        elif recipe.run.fuse and isinstance(net, InputGain):  # Lite-RTSE consists of fused operators already
            fuse(net.net)

    def forward(self, noisy: Tensor) -> Tensor:
        """Enhance noisy waveforms ``(B, samples)``, without gradients. Returns waveforms of the same shape."""
        return enhance_waveform(self.net, noisy, high_pass=self.recipe.model.high_pass)

    def _without_offset(self, batch: Example) -> Example:
        return Example(*map(remove_offset, batch)) if self.recipe.model.high_pass else batch

    def _enhance(self, spectrogram: Tensor) -> Tensor:
        enhanced = self.net(torch.view_as_real(spectrogram))
        return torch.view_as_complex(enhanced.float().contiguous())

    def losses(self, batch: Example) -> tuple[Losses, Tensor]:
        """Compute the losses of a batch of waveforms ``(B, samples)``.

        Returns:
            The losses, and the enhanced spectrogram ``(B, bins, T)``, complex.
        """
        return self._losses(self._without_offset(batch))

    def _losses(self, batch: Example) -> tuple[Losses, Tensor]:
        noisy, clean = (stft(each, self.net.signal) for each in batch)
        enhanced = self._enhance(noisy)
        with torch.autocast(self.device.type, enabled=False):
            losses = self.loss(enhanced, noisy, clean, batch.clean)
            if self.teacher and self.training:
                target = self.teacher.targets(batch)
                taught = self.loss(enhanced, noisy, stft(target, self.net.signal), target)
                share = self.recipe.teacher.weight
                losses = Losses(*(own.lerp(other, share) for own, other in zip(losses, taught, strict=True)))
            return losses, enhanced

    def on_fit_start(self) -> None:
        if self.teacher:
            self.teacher.to(self.device)
        self.graph = step_graph(self, lambda batch: self._losses(batch)[0], self.recipe.run, self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.teacher:
            checkpoint["teacher"] = self.teacher.fingerprint

    def on_fit_end(self) -> None:
        self.graph = None

    def on_train_batch_start(self, batch: Example, batch_idx: int) -> None:
        """Enable the delayed branch once its step is reached. This depends on the step alone, also in resumed runs."""
        name = self.recipe.model.delayed_branch
        if name:
            delay_branch(self.net.net, name, self.global_step < self.recipe.model.delayed_branch_step)

    def training_step(self, batch: Example, batch_idx: int) -> Tensor:
        batch = self._without_offset(batch)
        losses = self.graph.losses(batch) if self.graph else None
        if losses is None:
            losses, _ = self._losses(batch)
        self.log_dict({f"train/{name}": value for name, value in losses._asdict().items()}, prog_bar=False)
        self.log("loss", losses.total, prog_bar=True, logger=False)
        return losses.total

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        if self.graph is None or not self.graph.hand_over_gradients():
            super().backward(loss, *args, **kwargs)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if (self.trainer.global_step + 1) % LOG_EVERY_STEPS == 0:
            norms = [p.grad.norm() for p in self.net.parameters() if p.grad is not None]
            self.log("train/gradient_norm", torch.stack(norms).norm())
            self.log("train/learning_rate", optimizer.param_groups[0]["lr"])

    def validation_step(self, batch: Example, batch_idx: int) -> None:
        losses, spectrogram = self.losses(batch)
        enhanced = istft(spectrogram, batch.noisy.shape[-1], self.net.signal)
        after, before = si_snr_db(enhanced, batch.clean), si_snr_db(batch.noisy, batch.clean)
        figures = {
            "valid/loss": losses.total,
            "valid/complex": losses.complex,
            "valid/magnitude": losses.magnitude,
            "valid/si_snr": after.mean(),
            "valid/si_snr_improvement": (after - before).mean(),
        }
        # Every process validates the whole split, on its own device. The mean makes them agree on which step is best.
        joint: dict[str, Any] = {"on_epoch": True, "sync_dist": True, "batch_size": len(batch.noisy)}
        self.log_dict(figures, **joint)
        self.log("si-snr+", figures["valid/si_snr_improvement"], prog_bar=True, logger=False, **joint)
        if batch_idx < self.recipe.run.examples and not self.trainer.sanity_checking:
            self._show(batch_idx, batch, enhanced)

    def _show(self, number: int, batch: Example, enhanced: Tensor) -> None:
        """Log the spectrogram and audio of a validation example. Epoch 0 also logs its noisy and clean sides."""
        board = getattr(self.logger, "experiment", None)
        if board is None or not self.trainer.is_global_zero:
            return
        sides = {"enhanced": enhanced}
        if self.trainer.current_epoch == 0:
            sides |= {"noisy": batch.noisy, "clean": batch.clean}
        for name, waveform in sides.items():
            tag = f"example {number}/{name}"
            board.add_image(tag, _picture(waveform[0]), self.global_step, dataformats="HW")
            audio = waveform[:1] / waveform[0].abs().max().clamp(min=1.0)
            board.add_audio(tag, audio, self.global_step, sample_rate=SAMPLE_RATE_HZ)

    def configure_optimizers(self) -> Any:
        options = self.recipe.optimizer
        optimizer = torch.optim.AdamW(
            self.net.parameters(),
            lr=options.learning_rate,
            betas=options.betas,
            weight_decay=options.weight_decay,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._learning_rate_share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _learning_rate_share(self, step: int) -> float:
        options, steps = self.recipe.optimizer, self.recipe.run.steps
        if step < options.warmup_steps:
            return (step + 1) / options.warmup_steps
        done = min(1.0, (step - options.warmup_steps) / max(1, steps - options.warmup_steps))
        return options.final_share + (1 - options.final_share) * (1 + math.cos(math.pi * done)) / 2


def _picture(waveform: Tensor) -> Tensor:
    """Return the spectrogram of a waveform as gray values 0 … 1, ``(bins, frames)``, high frequencies first."""
    level_db = 20 * torch.log10(stft(waveform.float()).abs().clamp(min=1e-8))
    return ((level_db - _SILENCE_DB) / (_LOUD_DB - _SILENCE_DB)).clamp(0, 1).flip(0).cpu()
