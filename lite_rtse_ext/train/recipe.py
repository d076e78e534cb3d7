"""A recipe: everything a training run is made of, in one YAML file.

The dataclasses below are its sections; every field can be left out. What a file says, and what the command line sets
beside it, is checked against their types, and a name that isn't there is refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from lite_rtse_ext.data.mixing import MixingOptions
from lite_rtse_ext.files import replacing

__all__ = [
    "DataRecipe",
    "LossRecipe",
    "ModelRecipe",
    "OptimiserRecipe",
    "Recipe",
    "RecipeError",
    "RunRecipe",
    "load_recipe",
    "recipe_names",
    "save_recipe",
]


class RecipeError(ValueError):
    """A recipe that can't be read or used; the message says where and why."""


@dataclass(frozen=True)
class ModelRecipe:
    """The network.

    Args:
        class_path: any class of torch.nn.Module from spectrogram to spectrogram, ``(B, 257, T, 2)`` to the same shape.
        arguments: of its constructor.
        initial: a checkpoint to start from; "pretrained" is the one that comes with the package.
        level: what the spectrogram is multiplied by on the way in, and the result divided by.
        standardise: Lite-RTSE only: scale what its LSTM and its fusion layer read, bin by bin, by what was measured on
            the data. The scales go into the weights when they are saved.
        identity: Lite-RTSE only: begin near the network that gives back its input.
        dropout: Lite-RTSE only: chance that a value which an LSTM gives is dropped in a training step.
        keep: Lite-RTSE only: share of the noisy magnitude that is kept whatever the network says, below 1 kHz and above
            2 kHz; 0.1 turns nothing down by more than 20 dB, as long as the magnitude that the network itself gives is
            not negative. Not in training steps, but in validation, and it goes into the weights when they are saved.
        late_branch: a submodule, of as many channels out as in, that joins the training at ``late_branch_step``; until
            then zeros take the place of its result, and it is not computed.
        late_branch_step: that step.
    """

    class_path: str = "lite_rtse_ext.LiteRTSE"
    arguments: dict[str, Any] = field(default_factory=dict)
    initial: str | None = None
    level: float = 1.0
    standardise: bool = False
    identity: bool = False
    dropout: float = 0.0
    keep: tuple[float, float] = (0.0, 0.0)
    late_branch: str | None = None
    late_branch_step: int = 0


@dataclass(frozen=True)
class DataRecipe:
    """The data.

    Args:
        manifest: of ``lite-rtse prepare``.
        mixing: how examples are drawn.
        damaged: what to do about a file that is missing or damaged: name and skip it, or refuse: look at every
            file before the first step, and stop at one.
        workers: processes that draw examples; 0 draws them in the training process.
        cache_megabytes: memory for audio, in each of them.
    """

    manifest: str = ""
    mixing: MixingOptions = field(default_factory=MixingOptions)
    damaged: Literal["skip", "refuse"] = "skip"
    workers: int = 0
    cache_megabytes: float = 0.0


@dataclass(frozen=True)
class LossRecipe:
    """Weights of the loss; see :class:`lite_rtse_ext.train.loss.EnhancementLoss`."""

    complex: float = 0.7
    magnitude: float = 0.3
    si_snr: float = 0.01
    compression: float = 0.3
    si_snr_ceiling_db: float = 30.0
    missing: float = 0.0


@dataclass(frozen=True)
class OptimiserRecipe:
    """AdamW with a learning rate that rises, then falls along a cosine to the last step.

    Args:
        learning_rate: its highest value.
        warmup_steps: steps of rising.
        final_share: the learning rate at the end, as a share of the highest.
        betas: of AdamW.
        weight_decay: of AdamW.
        clip_norm: the gradient's norm is cut down to this; 0 leaves it alone.
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 200
    final_share: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1e-4
    clip_norm: float = 1.0


@dataclass(frozen=True)
class RunRecipe:
    """The run.

    Args:
        seed: of the initial values and of everything drawn.
        batch_size: examples in a step, of one process.
        steps: optimiser steps in all.
        epoch_batches: batches between validations; 0 means every utterance once.
        accumulate: batches whose gradients make a step.
        average: what a moving average of the weights keeps at every step, such as 0.999; the average is validated and
            written as the best weights. 0 does without.
        save_every: steps between checkpoints.
        monitor: the validation figure that says which weights are best.
        monitor_mode: whether it is best at its smallest or greatest.
        patience: validations without improvement until the run ends; 0 never ends it early.
        precision: 32-true, bf16-mixed or 16-mixed.
        compile: run the network through torch.compile.
        accelerator: auto, cpu or gpu.
        devices: processes, or GPUs, on a machine; torchrun starts them.
        threads: CPU threads of a process; 0 is what PyTorch picks.
        deterministic: use deterministic algorithms only.
        examples: validation examples shown in TensorBoard.
    """

    seed: int = 0
    batch_size: int = 8
    steps: int = 10_000
    epoch_batches: int = 0
    accumulate: int = 1
    average: float = 0.0
    save_every: int = 500
    monitor: str = "valid/loss"
    monitor_mode: Literal["min", "max"] = "min"
    patience: int = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    threads: int = 0
    deterministic: bool = False
    examples: int = 3


@dataclass(frozen=True)
class Recipe:
    """The sections."""

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    run: RunRecipe = field(default_factory=RunRecipe)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("lite_rtse_ext") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name: str | os.PathLike[str], settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: path of a YAML file, or the name of a recipe that comes with the package.
        settings: ``section.field=value``, which override the file; values are YAML.

    Raises:
        OSError: no such file, or it can't be read.
        RecipeError: it is not YAML, has a name that isn't known, or a value of another type.
    """
    text = (
        (resources.files("lite_rtse_ext") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
        if str(name) in recipe_names()
        else Path(name).read_text(encoding="utf-8")
    )
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise RecipeError(f"{name}: not YAML ({error})") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{name}: must hold sections, but is {type(content).__name__}")
    for setting in settings:
        _override(content, setting)
    return _checked(content, str(name))


def _override(content: dict[str, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    *path, last = key.split(".")
    if not equals or not path:
        raise RecipeError(f"{setting}: must be section.field=value")
    for part in path:
        inner = content.setdefault(part, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"{setting}: {part} is no section")
        content = inner
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"{setting}: the value is not YAML") from error


def _checked(content: dict[str, Any], name: str) -> Recipe:
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recipe, None)
    try:
        recipe = Recipe(**vars(parser.instantiate(parser.parse_object(content))))
    except (ArgumentError, ValueError, TypeError) as error:
        raise RecipeError(f"{name}: {' '.join(str(error).split())}") from error
    _check_values(recipe, name)
    return recipe


_CHANCES = (
    "even_voices",
    "babble",
    "far_babble",
    "synthetic",
    "grains",
    "noise_contour",
    "noise_reversed",
    "noise_scrambled",
    "noise_room",
    "band_limit",
    "room",
    "no_noise",
    "no_speech",
)


def _check_values(recipe: Recipe, name: str) -> None:
    run, mixing = recipe.run, recipe.data.mixing
    for field_name, value, least in (
        ("run.batch_size", run.batch_size, 1),
        ("run.steps", run.steps, 1),
        ("run.epoch_batches", run.epoch_batches, 0),
        ("run.accumulate", run.accumulate, 1),
        ("run.save_every", run.save_every, 1),
        ("run.devices", run.devices, 1),
        ("run.threads", run.threads, 0),
        ("run.patience", run.patience, 0),
        ("data.workers", recipe.data.workers, 0),
        ("data.mixing.seconds", mixing.seconds, 0.1),
        ("optimiser.learning_rate", recipe.optimiser.learning_rate, 0),
        ("optimiser.warmup_steps", recipe.optimiser.warmup_steps, 0),
    ):
        if value < least:
            raise RecipeError(f"{name}: {field_name} must be at least {least}, but is {value}")
    if not 0 <= run.average < 1:
        raise RecipeError(f"{name}: run.average must be at least 0 and below 1, but is {run.average}")
    if not 0 <= recipe.model.dropout < 1:
        raise RecipeError(f"{name}: model.dropout must be at least 0 and below 1, but is {recipe.model.dropout}")
    if not all(0 <= share < 1 for share in recipe.model.keep):
        raise RecipeError(f"{name}: model.keep must be two shares from 0 to below 1, but is {recipe.model.keep}")
    if not mixing.noises or min(mixing.noises) < 0 or sum(mixing.noises) <= 0:
        raise RecipeError(f"{name}: data.mixing.noises must be chances, but is {mixing.noises}")
    for field_name in _CHANCES:
        if not 0 <= getattr(mixing, field_name) <= 1:
            raise RecipeError(
                f"{name}: data.mixing.{field_name} must be from 0 to 1, but is {getattr(mixing, field_name)}"
            )
    made = mixing.babble + mixing.synthetic + mixing.grains
    if made > 1:
        raise RecipeError(
            f"{name}: data.mixing.babble, synthetic and grains must be 1 at most together, but are {made:g}"
        )
    for field_name in ("snr_db", "speech_dbfs", "speed", "noise_speed", "band_limit_hz", "babble_voices"):
        low, high = getattr(mixing, field_name)
        if low > high:
            raise RecipeError(f"{name}: data.mixing.{field_name} must go from low to high, but is {low}, {high}")


def save_recipe(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write a recipe with every field, for :func:`load_recipe` to read."""
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(_plain(recipe), sort_keys=False), encoding="utf-8")


def _plain(recipe: Recipe) -> dict[str, Any]:
    from dataclasses import asdict

    def lists(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: lists(inner) for key, inner in value.items()}
        return [lists(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    plain: dict[str, Any] = lists(asdict(recipe))
    return plain
