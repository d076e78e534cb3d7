"""A run: data, network and loop put together from a recipe, in a folder of its own."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from lite_rtse_ext.data.check import check_files
from lite_rtse_ext.data.dataset import Example, ExampleSampler, FixedExamples, TrainingExamples
from lite_rtse_ext.data.manifest import Manifest, ManifestError
from lite_rtse_ext.denormals import flushed_denormals
from lite_rtse_ext.train.build import build_network
from lite_rtse_ext.train.callbacks import AtomicCheckpoints, AveragedWeights, BestWeights, CompleteEnd, RandomState
from lite_rtse_ext.train.module import LOG_EVERY_STEPS, Enhancer
from lite_rtse_ext.train.recipe import Recipe, RecipeError, load_recipe, save_recipe

__all__ = ["BEST_WEIGHTS", "RECIPE", "RunData", "fit", "last_checkpoint"]

RECIPE, BEST_WEIGHTS, _LAST = "recipe.yaml", "best.safetensors", "last.ckpt"
_CHECKPOINTS = "checkpoints"


class RunData(lightning.LightningDataModule):
    """The examples of a recipe.

    Args:
        recipe: its sections data and run.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        data = recipe.data
        manifest = Manifest.load(data.manifest)
        if data.damaged == "refuse":
            _refuse_faulty(manifest)
        self.examples = TrainingExamples(
            manifest, data.mixing, recipe.run.seed, data.damaged == "refuse", data.cache_megabytes
        )
        self.valid = FixedExamples(manifest, "valid")

    def train_dataloader(self) -> DataLoader[Example]:
        trainer, run = self.trainer, self.recipe.run
        assert trainer is not None
        batches = run.epoch_batches or -(-len(self.examples) // (run.batch_size * trainer.world_size))
        progress = trainer.fit_loop.epoch_loop.batch_progress
        sampler = ExampleSampler(
            batches, run.batch_size, trainer.global_rank, trainer.world_size, done=lambda: progress.total.ready
        )
        workers = self.recipe.data.workers
        return DataLoader(
            self.examples,
            batch_sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # not the global one, whose numbers belong to the network
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Example]:
        return DataLoader(self.valid, batch_size=1, generator=torch.Generator())


def _refuse_faulty(manifest: Manifest) -> None:
    """Before the first step, not hours later."""
    faults = list(check_files(manifest).values())
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ManifestError(f"{faults[0]}{more}")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run, if it has one."""
    path = folder / _CHECKPOINTS / _LAST
    return path if path.exists() else None


def fit(recipe: Recipe, folder: Path, *, resume: bool = False, progress: bool | None = None) -> lightning.Trainer:
    """Train.

    The folder gets the recipe, ``checkpoints/``, ``best.safetensors`` (the best weights by validation) and
    TensorBoard's files in ``logs/``.

    Args:
        recipe: of the run.
        folder: of the run; made if it doesn't exist.
        resume: go on from the newest checkpoint, exactly as if the run had never stopped.
        progress: whether to show a progress bar; by default where the output is a terminal.

    Returns:
        The trainer, after the last step.

    Raises:
        OSError, ManifestError, RecipeError, CheckpointError, AudioError: what is wrong with the input.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = last_checkpoint(folder)
    if found and not resume:
        raise RecipeError(f"{folder}: has a run in it already; resume it, or choose another folder")
    if resume and (folder / RECIPE).exists() and load_recipe(folder / RECIPE) != recipe:
        raise RecipeError(f"{folder}: the run in it has another recipe, in {folder / RECIPE}")
    run = recipe.run
    if run.threads:
        torch.set_num_threads(run.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it advertises otherwise
    lightning.seed_everything(run.seed, verbose=False)
    data = RunData(recipe)
    module = Enhancer(build_network(recipe.model, data.examples), recipe)
    trainer = _trainer(recipe, folder, sys.stderr.isatty() if progress is None else progress)
    if trainer.is_global_zero:
        save_recipe(recipe, folder / RECIPE)
    with flushed_denormals(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # Lightning's own affair
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # so a recipe says
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # its sampler is
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")  # that is what resuming means
        trainer.fit(module, datamodule=data, ckpt_path=found, weights_only=True)
    return trainer


def _trainer(recipe: Recipe, folder: Path, progress: bool) -> lightning.Trainer:
    run = recipe.run
    options: dict[str, Any] = {}
    if run.devices > 1:
        unused = recipe.model.late_branch is not None
        options["strategy"] = "ddp_find_unused_parameters_true" if unused else "ddp"
    return lightning.Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        precision=run.precision,
        max_steps=run.steps,
        max_epochs=-1,
        accumulate_grad_batches=run.accumulate,
        gradient_clip_val=recipe.optimiser.clip_norm or None,
        deterministic=run.deterministic,
        logger=TensorBoardLogger(folder, name="logs", version=""),
        callbacks=_callbacks(recipe, folder, progress),
        plugins=[AtomicCheckpoints()],
        log_every_n_steps=LOG_EVERY_STEPS,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        **options,
    )


def _callbacks(recipe: Recipe, folder: Path, progress: bool) -> list[Callback]:
    run, checkpoints = recipe.run, folder / _CHECKPOINTS
    best = ModelCheckpoint(
        checkpoints,
        "best",
        monitor=run.monitor,
        mode=run.monitor_mode,
        save_on_train_epoch_end=False,  # but after each validation: the last need not be at the end of an epoch
        enable_version_counter=False,
    )
    newest = ModelCheckpoint(
        checkpoints, _LAST.removesuffix(".ckpt"), every_n_train_steps=run.save_every, enable_version_counter=False
    )
    end = CompleteEnd(checkpoints / _LAST)
    callbacks: list[Callback] = [end, BestWeights(folder / BEST_WEIGHTS, best), best, newest, RandomState()]
    if run.average:
        callbacks.insert(2, AveragedWeights(run.average))
    if run.patience:
        callbacks.append(EarlyStopping(run.monitor, patience=run.patience, mode=run.monitor_mode))
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=LOG_EVERY_STEPS))
    return callbacks
