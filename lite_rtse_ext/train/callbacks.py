"""What a run needs beside the loop: checkpoints that appear whole, random numbers that go on, the best weights."""

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
    """Training that has come to nothing; the message says what to try."""


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that replace the one before them only once they are complete and on the disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:  # a path's name would go into the file
            torch.save(checkpoint, file)


class MovableCheckpoint(ModelCheckpoint):
    """Knows its best checkpoint after the folder of the run was moved, too. Lightning's own forgets it."""

    @property
    def state_key(self) -> str:
        """Its place in checkpoints; Lightning's own changes with the number of steps between them."""
        return f"{type(self).__name__} {self.filename}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        old, new = str(state_dict["dirpath"]), str(self.dirpath)

        def moved(value: Any) -> Any:
            if isinstance(value, dict):
                return {moved(key): moved(inner) for key, inner in value.items()}
            return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old) else value

        super().load_state_dict(moved(state_dict))


class Patience(EarlyStopping):
    """Ends a run early, by the patience of its recipe. Lightning's own takes the checkpoint's, which may be older."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict | {"patience": self.patience})


class RandomState(Callback):
    """Puts the states of PyTorch's generators into checkpoints, for networks with dropout and the like; they are put
    back just before the first batch of the resumed run."""

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
    """Validates, and gives away, an exponential moving average of the weights.

    Lightning's own callback takes the average back when the validation's figures aren't known yet; this one leaves it
    in place until ``on_validation_end``, so that :class:`BestWeights`, called before it, writes what was judged.

    Args:
        decay: share of the average that a step keeps.
    """

    def __init__(self, decay: float) -> None:
        # Fixed scales are buffers and need no average; the module's own counters are none of ours.
        super().__init__(decay=decay, use_buffers=False)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Nothing yet."""

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)


class CompleteEnd(Callback):
    """Whatever the number of steps, a run ends with a validation and a checkpoint.

    Lightning validates after whole epochs alone: of a run that ends within one, the last steps would be lost, and of a
    run shorter than one all of them. Has to come before the callbacks that the end changes the weights by.

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
        path: of the file.
        judge: the checkpoint callback whose figure counts; it has to come after this one.
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
