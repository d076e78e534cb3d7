"""Progress of an interrupted run, and the settings that may change when it is resumed."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lite_rtse_ext.data.manifest import ManifestError
from lite_rtse_ext.models.checkpoint import CheckpointError
from lite_rtse_ext.train.callbacks import Patience
from lite_rtse_ext.train.recipe import Recipe, RecipeError, with_lists

__all__ = ["Progress", "check_changes", "read_progress"]

_FREE = {
    "data.manifest",
    "data.damaged",
    "data.workers",
    "data.cache_megabytes",
    "run.steps",
    "run.batch_size",
    "run.devices",
    "run.save_every",
    "run.patience",
    "run.precision",
    "run.compile",
    "run.fuse",
    "run.accelerator",
    "run.threads",
    "run.deterministic",
    "run.cuda_graph",
    "run.examples",
}
"""Settings that change neither the examples of a step nor the content of the checkpoint. They may change."""

_REASONS = {
    "model": "the checkpoint holds the parameters of this network",
    "data.mixing": "the examples so far were drawn that way",
    "loss": "the validations so far were judged by it",
    "teacher": "the steps so far had its targets",
    "optimizer": "the checkpoint holds the optimizer's state",
    "run.seed": "the examples so far were drawn from it",
    "run.epoch_batches": "the place in the data is counted by it",
    "run.accumulate": "the place in the data is counted by it",
    "run.average": "the checkpoint holds this average",
    "run.monitor": "the best weights so far were chosen by it",
}


class Progress(NamedTuple):
    """Progress of a run.

    Args:
        step: number of optimizer steps taken.
        validations: number of consecutive validations without improvement. 0 if the run has no patience.
        fingerprint: fingerprint of the data of the run.
        teacher: fingerprint of the teacher. None if the run has none, or the checkpoint does not tell.
    """

    step: int
    validations: int
    fingerprint: str
    teacher: str | None = None

    def check_same(self, recipe: Recipe, data: str, teacher: str | None) -> None:
        """Reject files with other content than those that the run began with. Their paths may be others.

        Args:
            recipe: the recipe of the resumed run, which names the files.
            data, teacher: fingerprints of its data, and of its teacher if it has one.

        Raises:
            ManifestError, RecipeError: the recordings or the teacher are others.
        """
        if data != self.fingerprint:
            raise ManifestError(f"{recipe.data.manifest}: expected the recordings that the run began with, got others")
        if teacher and self.teacher not in (None, teacher):
            raise RecipeError(f"{recipe.teacher.checkpoint}: expected the teacher that the run began with, got another")

    def is_out_of_patience(self, recipe: Recipe) -> bool:
        """Return whether the run has ended early by its patience."""
        return 0 < recipe.run.patience <= self.validations


def read_progress(path: Path, recipe: Recipe) -> Progress:
    """Read the progress of a run that is to be resumed.

    Args:
        path: the newest checkpoint of the run.
        recipe: the recipe of the resumed run.

    Raises:
        OSError: the checkpoint cannot be read.
        CheckpointError: the file is damaged, or it is not a checkpoint of a run.
        RecipeError: the run has already taken more steps than the recipe has.
    """
    data = io.BytesIO(path.read_bytes())
    try:
        content = torch.load(data, map_location="cpu", weights_only=True)
        step, callbacks, fingerprint = content["global_step"], content["callbacks"], content["RunData"]["fingerprint"]
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: not a checkpoint that a run can go on from ({reason})") from error
    if recipe.run.steps < step:
        raise RecipeError(f"run.steps: expected at least {step}, as the run has taken so many, got {recipe.run.steps}")
    waits = [state["wait_count"] for name, state in callbacks.items() if name.startswith(Patience.__name__)]
    return Progress(step, max(waits, default=0), fingerprint, content.get("teacher"))


def check_changes(old: Recipe, new: Recipe) -> None:
    """Reject changes of settings that would make a resumed run differ from the original run.

    Args:
        old: the recipe that the run began with.
        new: the recipe of the resumed run.

    Raises:
        RecipeError: such a setting has changed. The message gives its name, old value, new value, and the reason.
    """
    before, after = dict(_settings(old)), dict(_settings(new))
    refused = [name for name in before if before[name] != after[name] and name not in _FREE]
    if old.teacher.checkpoint and new.teacher.checkpoint:  # the file may have moved; its fingerprint is compared
        refused = [name for name in refused if name != "teacher.checkpoint"]
    faults = [f"{name}: expected {before[name]!r}, got {after[name]!r}: {_reason(name)}" for name in refused]
    joint = [recipe.run.batch_size * recipe.run.devices for recipe in (old, new)]
    if joint[0] != joint[1]:
        faults.append(
            f"run.batch_size · run.devices: expected {joint[0]}, got {joint[1]}: the place in the data is counted by it"
        )
    if faults:
        raise RecipeError(
            f"a resumed run can't change {'; '.join(faults)} (a new run can begin with the weights of this one: "
            "model.initial=FOLDER/best.safetensors)"
        )


def _settings(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for each in fields(section):
        value = getattr(section, each.name)
        if is_dataclass(value):
            yield from _settings(value, f"{prefix}{each.name}.")
        else:
            yield prefix + each.name, with_lists(value)


def _reason(name: str) -> str:
    return next(reason for prefix, reason in _REASONS.items() if name.startswith(prefix))
