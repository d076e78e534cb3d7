"""Training runs: build data, network and trainer from a recipe, and train in a folder."""

from __future__ import annotations

import errno
import hashlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from lite_rtse_ext.data.check import check_files
from lite_rtse_ext.data.dataset import Example, ExampleSampler, FixedExamples, TrainingExamples
from lite_rtse_ext.data.manifest import Manifest, ManifestError
from lite_rtse_ext.train.ahead import Ahead, SideStream
from lite_rtse_ext.train.callbacks import (
    AtomicCheckpoints,
    AveragedWeights,
    BestWeights,
    CompleteEnd,
    MovableCheckpoint,
    Patience,
    RandomState,
)
from lite_rtse_ext.train.module import LOG_EVERY_STEPS, Enhancer
from lite_rtse_ext.train.network import build_network
from lite_rtse_ext.train.process import borrowed_process, clear_errors, is_first_process
from lite_rtse_ext.train.recipe import Recipe, RecipeError, anchored, load_recipe, save_recipe
from lite_rtse_ext.train.resume import Progress, check_changes, read_progress
from lite_rtse_ext.train.teacher import load_teacher
from lite_rtse_ext.utils.folder_lock import sole_user
from lite_rtse_ext.utils.new_folder import new_folder

__all__ = ["BEST_WEIGHTS", "RECIPE", "RunData", "fit", "last_checkpoint"]

RECIPE, BEST_WEIGHTS, _LAST = "recipe.yaml", "best.safetensors", "last.ckpt"
_CHECKPOINTS = "checkpoints"


class RunData(lightning.LightningDataModule):
    """The training and validation examples of a recipe.

    Args:
        recipe: the recipe. Its sections data and run are used.

    Raises:
        RecipeError: the recipe names no manifest.
        FileNotFoundError: the manifest does not exist.
        ManifestError: the manifest is invalid, or a file is faulty and ``data.damaged`` is "refuse".
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        data = recipe.data
        manifest = _load_manifest(data.manifest)
        self.fingerprint = _fingerprint(manifest)
        if data.damaged == "refuse":
            _refuse_faulty(manifest)
        self.examples = TrainingExamples(
            manifest, data.mixing, recipe.run.seed, data.damaged == "refuse", data.cache_megabytes
        )
        self.valid = FixedExamples(manifest, "valid")

    def state_dict(self) -> dict[str, str]:
        """Return the entry for checkpoints. It identifies the data independently of the folder that holds it."""
        return {"fingerprint": self.fingerprint}

    def train_dataloader(self) -> DataLoader[Example] | Ahead:
        trainer, run = self.trainer, self.recipe.run
        assert trainer is not None
        device = trainer.strategy.root_device
        on_gpu = device.type == "cuda"
        batches = run.epoch_batches or -(-len(self.examples) // (run.batch_size * trainer.world_size))
        progress = trainer.fit_loop.epoch_loop.batch_progress
        sampler = ExampleSampler(
            batches, run.batch_size, trainer.global_rank, trainer.world_size, done=lambda: progress.total.ready
        )
        workers = self.recipe.data.workers
        loader = DataLoader(
            self.examples,
            batch_sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # the global generator is for the network alone
            pin_memory=on_gpu,
        )
        return Ahead(loader, SideStream(device)) if on_gpu else loader

    def val_dataloader(self) -> DataLoader[Example]:
        return DataLoader(self.valid, batch_size=1, generator=torch.Generator())


def _load_manifest(path: str) -> Manifest:
    if not path:
        raise RecipeError("data.manifest: expected the path of a manifest (--data), got nothing")
    if not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, "no such manifest; --data says where it is", path)
    return Manifest.load(path)


def _fingerprint(manifest: Manifest) -> str:
    """Return the SHA-256 hash of the entries of the splits train and valid."""
    clips = [(clip.kind, clip.path, clip.frames, clip.label) for clip in manifest.clips if clip.split == "train"]
    pairs = [(pair.split, pair.noisy, pair.clean, pair.frames) for pair in manifest.pairs if pair.split != "test"]
    mixtures = [
        (each.speech, each.noise, each.noise_start, each.snr_db) for each in manifest.mixtures if each.split == "valid"
    ]
    return hashlib.sha256(repr((clips, pairs, mixtures)).encode()).hexdigest()


def _refuse_faulty(manifest: Manifest) -> None:
    """Raise ManifestError if a file is faulty, so that the run fails before its first step and not hours later."""
    faults = list(check_files(manifest).values())
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ManifestError(f"{faults[0]}{more}")


def last_checkpoint(folder: Path) -> Path | None:
    """Return the path of the newest checkpoint of a run, or None if it has none."""
    path = folder / _CHECKPOINTS / _LAST
    return path if path.exists() else None


def fit(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    progress: bool | None = None,
    report: Callable[[str], None] | None = None,
) -> lightning.Trainer:
    """Train a network.

    Process-wide settings, such as the number of threads and the random states, are restored at the end. The folder
    receives the recipe, ``checkpoints/``, ``best.safetensors`` (the best weights by validation) and the TensorBoard
    files in ``logs/``.

    Args:
        recipe: the recipe of the run.
        folder: the folder of the run. It is created if it does not exist.
        resume: continue from the newest checkpoint, exactly as if the run had not been interrupted. The number of
            steps may differ from before. So may settings that affect neither the examples nor the parameters.
        progress: whether to show a progress bar. By default it is shown if stderr is a terminal.
        report: called with one line that says from which step a resumed run continues.

    Returns:
        The trainer, after the last step.

    Raises:
        OSError, ManifestError, RecipeError, CheckpointError, AudioError: the input is faulty.
        BlockingIOError: another process is training in the folder.
        TrainingError: training has failed, or a data loader process has died.
    """
    recipe = anchored(recipe)
    with new_folder(folder), _sole_run(folder), borrowed_process(recipe.run.threads), clear_errors():
        found = last_checkpoint(folder)
        if found and not resume:
            raise RecipeError(f"{folder}: has a run in it already; resume it, or choose another folder")
        if resume and (folder / RECIPE).exists():
            check_changes(load_recipe(folder / RECIPE), recipe)
        taken = read_progress(found, recipe) if found else None
        lightning.seed_everything(recipe.run.seed, verbose=False)
        data = RunData(recipe)
        network = build_network(recipe.model, data.examples, resumed=found is not None)
        teacher = load_teacher(recipe.teacher, recipe.run.fuse)
        module = Enhancer(network, recipe, teacher)
        steps = recipe.run.steps
        if taken:
            taken.check_same(recipe, data.fingerprint, teacher.fingerprint if teacher else None)
            steps = taken.step if taken.is_out_of_patience(recipe) else steps
        trainer = _trainer(recipe, folder, sys.stderr.isatty() if progress is None else progress, steps)
        if trainer.is_global_zero:
            save_recipe(recipe, folder / RECIPE)
            if resume and report:
                report(_resumption(taken, recipe))
        trainer.fit(module, datamodule=data, ckpt_path=found, weights_only=True)
    return trainer


def _sole_run(folder: Path) -> AbstractContextManager[None]:
    """A lock of the folder. The first process of a run holds it for the others."""
    return sole_user(folder) if is_first_process() else nullcontext()


def _resumption(taken: Progress | None, recipe: Recipe) -> str:
    run = recipe.run
    if taken is None:
        return "there is no checkpoint yet: the run begins at its first step"
    if taken.step == run.steps:
        return f"the run has taken all its {run.steps} steps; it goes on with a greater run.steps"
    if taken.is_out_of_patience(recipe):
        return (
            f"the run ended early after step {taken.step}, as {taken.validations} validations brought no improvement; "
            "it goes on with a greater run.patience"
        )
    return f"the run goes on after step {taken.step} of {run.steps}"


def _trainer(recipe: Recipe, folder: Path, progress: bool, steps: int) -> lightning.Trainer:
    run = recipe.run
    options: dict[str, Any] = {}
    if run.devices > 1:
        unused = recipe.model.delayed_branch is not None
        options["strategy"] = "ddp_find_unused_parameters_true" if unused else "ddp"
    return lightning.Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        precision=run.precision,
        max_steps=steps,
        max_epochs=-1,
        accumulate_grad_batches=run.accumulate,
        gradient_clip_val=recipe.optimizer.clip_norm or None,
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
    best = MovableCheckpoint(
        checkpoints,
        "best",
        monitor=run.monitor,
        mode=run.monitor_mode,
        save_on_train_epoch_end=False,  # save after each validation; the last one may be within an epoch
        enable_version_counter=False,
    )
    newest = MovableCheckpoint(
        checkpoints, _LAST.removesuffix(".ckpt"), every_n_train_steps=run.save_every, enable_version_counter=False
    )
    end = CompleteEnd(checkpoints / _LAST)
    callbacks: list[Callback] = [end, BestWeights(folder / BEST_WEIGHTS, best), best, newest, RandomState()]
    if run.average:
        callbacks.insert(2, AveragedWeights(run.average))
    if run.patience:
        callbacks.append(
            Patience(run.monitor, patience=run.patience, mode=run.monitor_mode, check_on_train_epoch_end=False)
        )
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=LOG_EVERY_STEPS))
    return callbacks
