"""Callbacks of a training run: atomic checkpoints, resumable random states, averaged weights and the best weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lite_rtse_ext.models import checkpoint
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.train.module import Enhancer
from lite_rtse_ext.train.recipe import RecipeError
from lite_rtse_ext.utils.atomic_file import replacing

__all__ = [
    "AtomicCheckpoints",
    "AveragedWeights",
    "BestWeights",
    "CompleteEnd",
    "MovableCheckpoint",
    "Patience",
    "RandomState",
    "TrainingError",
]


class TrainingError(RuntimeError):
    """Training has failed. The message says what to try."""


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints atomically: a file replaces the previous one only once it is complete and on the disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:  # given a path, torch writes its name
            torch.save(checkpoint, file)


class MovableCheckpoint(ModelCheckpoint):
    """Keeps its best checkpoint when the folder of the run is moved. Lightning's ModelCheckpoint forgets it."""

    @property
    def state_key(self) -> str:
        """Its key in checkpoints. Lightning's key depends on the number of steps between checkpoints."""
        return f"{type(self).__name__} {self.filename}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        old, new = str(state_dict["dirpath"]), str(self.dirpath)

        def moved(value: Any) -> Any:
            if isinstance(value, dict):
                return {moved(key): moved(inner) for key, inner in value.items()}
            return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old) else value

        super().load_state_dict(moved(state_dict))


class Patience(EarlyStopping):
    """Early stopping with the patience of the recipe. Lightning's uses that of the checkpoint, which may be older."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict | {"patience": self.patience})


class RandomState(Callback):
    """Saves the states of PyTorch's random generators in checkpoints, for networks with dropout and similar layers.

    The states are restored just before the first batch of the resumed run.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict

    def on_train_batch_start(self, *_: object) -> None:
        if self._loaded is None:
            return
        states, self._loaded = self._loaded, None
        torch.set_rng_state(states["cpu"])
        if len(states["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states["cuda"])


class AveragedWeights(EMAWeightAveraging):
    """Validates and saves an exponential moving average of the weights.

    Lightning's callback swaps the average out before the validation metrics are known. This one leaves it in place
    until ``on_validation_end``. :class:`BestWeights` is called earlier, so it writes the weights that were validated.

    Args:
        decay: decay of the average per step.
    """

    def __init__(self, decay: float) -> None:
        # Buffers are not averaged: they are fixed scales, and counters and statistics of batch norms, which the module
        # itself updates.
        super().__init__(decay=decay, use_buffers=False)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Do nothing: the average stays in place until :meth:`on_validation_end`."""

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)


class CompleteEnd(Callback):
    """Ends every run with a validation and a checkpoint, whatever the number of steps.

    Lightning validates after whole epochs only. If a run ends within an epoch, the steps since the last validation
    would be lost; if it is shorter than one epoch, all steps. This callback must come before callbacks that change the
    weights in ``on_train_end``.

    Args:
        newest: path of the checkpoint.
    """

    def __init__(self, newest: Path) -> None:
        self.newest = newest
        self._validated_step = -1

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._validated_step = trainer.global_step

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._validated_step != trainer.global_step:
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True
        trainer.save_checkpoint(self.newest)


class BestWeights(Callback):
    """Writes the parameters of the plain network as safetensors whenever a validation is the best so far.

    Args:
        path: path of the safetensors file.
        judge: the checkpoint callback whose metric decides. It must come after this callback.
    """

    def __init__(self, path: Path, judge: ModelCheckpoint) -> None:
        self.path = path
        self._judge = judge

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or not isinstance(pl_module, Enhancer):
            return
        monitor = str(self._judge.monitor)
        current = trainer.callback_metrics.get(monitor)
        if current is None:
            known = ", ".join(sorted(name for name in trainer.callback_metrics if name.startswith("valid/")))
            raise RecipeError(f"run.monitor: there is no {monitor}; known: {known}")
        if not current.isfinite():
            raise TrainingError(
                f"{monitor} is {float(current)} after step {trainer.global_step}: try a lower optimizer.learning_rate, "
                "or a lower model.input_gain"
            )
        if self._is_better(current):
            net = pl_module.net
            described = checkpoint.description(net if isinstance(net, InputGain) else net.net)
            checkpoint.write_state_dict(self.path, net.plain_state(), described)

    def _is_better(self, current: torch.Tensor) -> bool:
        best = self._judge.best_model_score
        if best is None:
            return True
        compare: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = (
            torch.lt if self._judge.mode == "min" else torch.gt
        )
        return bool(compare(current, best.to(current)))
