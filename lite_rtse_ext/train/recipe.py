"""A recipe: everything a training run is made of, in one YAML file.

The dataclasses below are its sections; every field can be left out. What a file says, and what the command line sets
beside it, is checked as the annotations say, and a name that isn't there is refused.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, field, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from yaml.constructor import ConstructorError

from lite_rtse_ext.data.mixing import MixingOptions
from lite_rtse_ext.train.loss import LossOptions
from lite_rtse_ext.utils.atomic_file import replacing
from lite_rtse_ext.utils.options import (
    STRICT,
    Count,
    Flag,
    NonNegative,
    Positive,
    Probability,
    Share,
    Text,
    Whole,
    explain,
)

__all__ = [
    "DataRecipe",
    "ModelRecipe",
    "OptimizerRecipe",
    "Recipe",
    "RecipeError",
    "RunRecipe",
    "anchored",
    "load_recipe",
    "plain",
    "recipe_names",
    "save_recipe",
]


class RecipeError(ValueError):
    """A recipe that can't be read or used; the message says where and why."""


@dataclass(frozen=True, config=STRICT)
class ModelRecipe:
    """The network.

    Args:
        class_path: any class of torch.nn.Module from spectrogram to spectrogram, ``(B, 257, T, 2)`` to the same shape;
            or a name that ``lite-rtse models`` lists.
        arguments: of its constructor.
        initial: a checkpoint to start from; "pretrained" is the one that comes with the package.
        input_gain: what the spectrogram is multiplied by on the way in, and the result divided by.
        normalize_input: Lite-RTSE only: scale what its LSTM and its fusion layer read, bin by bin, by what was measured
            on the data. The scales go into the weights when they are saved.
        identity: Lite-RTSE only: begin near the network that gives back its input.
        dropout: Lite-RTSE only: chance that a value which an LSTM gives is dropped in a training step.
        min_gain: Lite-RTSE only: minimum gain below 1 kHz and above 2 kHz; 0.1 turns nothing down by more than 20 dB,
            as long as the magnitude that the network itself gives is not negative. It is not applied in training
            steps, but in validation, and it goes into the weights when they are saved.
        delayed_branch: a submodule, of as many channels out as in, that joins the training at ``delayed_branch_step``;
            until then zeros take the place of its result, and it is not computed.
        delayed_branch_step: that step.
        high_pass: whether noisy and clean sides go through the high-pass that stands in front of the network in use;
            see :func:`lite_rtse_ext.audio.remove_offset`.
    """

    class_path: Text = "lite_rtse_ext.LiteRTSE"
    arguments: dict[Text, Any] = field(default_factory=dict)
    initial: Text | None = None
    input_gain: Positive = 1.0
    normalize_input: Flag = False
    identity: Flag = False
    dropout: Share = 0.0
    min_gain: tuple[Share, Share] = (0.0, 0.0)
    delayed_branch: Text | None = None
    delayed_branch_step: Whole = 0
    high_pass: Flag = True


@dataclass(frozen=True, config=STRICT)
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

    manifest: Text = ""
    mixing: MixingOptions = field(default_factory=MixingOptions)
    damaged: Literal["skip", "refuse"] = "skip"
    workers: Annotated[Whole, Field(le=1024)] = 0
    cache_megabytes: NonNegative = 0.0


@dataclass(frozen=True, config=STRICT)
class OptimizerRecipe:
    """AdamW with a learning rate that rises, then falls along a cosine to the last step.

    Args:
        learning_rate: its highest value.
        warmup_steps: steps of rising.
        final_share: the learning rate at the end, as a share of the highest.
        betas: of AdamW.
        weight_decay: of AdamW.
        clip_norm: the gradient's norm is cut down to this; 0 leaves it alone.
    """

    learning_rate: NonNegative = 1e-3
    warmup_steps: Whole = 200
    final_share: Probability = 0.01
    betas: tuple[Share, Share] = (0.9, 0.98)
    weight_decay: NonNegative = 1e-4
    clip_norm: NonNegative = 1.0


@dataclass(frozen=True, config=STRICT)
class RunRecipe:
    """The run.

    Args:
        seed: of the initial values and of everything drawn.
        batch_size: examples in a step, of one process.
        steps: optimizer steps in all.
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

    seed: Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)] = 0
    batch_size: Count = 8
    steps: Count = 10_000
    epoch_batches: Whole = 0
    accumulate: Count = 1
    average: Share = 0.0
    save_every: Count = 500
    monitor: Text = "valid/loss"
    monitor_mode: Literal["min", "max"] = "min"
    patience: Whole = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: Flag = False
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Count = 1
    threads: Annotated[Whole, Field(le=1024)] = 0
    deterministic: Flag = False
    examples: Whole = 3


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """The sections."""

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    loss: LossOptions = field(default_factory=LossOptions)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    run: RunRecipe = field(default_factory=RunRecipe)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("lite_rtse_ext.train") / "recipes"
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
    known = str(name) in recipe_names()
    path = resources.files("lite_rtse_ext.train") / "recipes" / f"{name}.yaml" if known else Path(name)
    content = _parsed(path.read_bytes(), str(name))
    if not isinstance(content, dict):
        raise RecipeError(f"{name}: expected sections, got {type(content).__name__}")
    for setting in settings:
        _override(content, setting)
    try:
        return TypeAdapter(Recipe).validate_python(_filled(content))
    except ValidationError as error:
        raise RecipeError(f"{name}: {explain(error, 'recipe')}") from error


class _Loader(yaml.SafeLoader):
    """YAML in which 2e-3 is a number, as in YAML 1.2, and a name that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ConstructorError(problem=f"{twice[0]} stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


_EXPONENT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _parsed(text: bytes | str, name: str) -> Any:
    """A file, or a value of the command line; {} where there is nothing in it."""
    try:
        content = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that there is not, say
        raise RecipeError(f"{name}: not YAML ({' '.join(str(error).split())})") from error
    return {} if content is None and isinstance(text, bytes) else content


def _override(content: dict[Any, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    *path, last = key.split(".")
    if not equals or not path:
        raise RecipeError(f"{setting}: must be section.field=value")
    for part in path:
        inner = content.get(part)
        if not isinstance(inner, dict | None):
            raise RecipeError(f"{setting}: {part} is no section")
        content[part] = content = inner or {}
    content[last] = _parsed(value, setting)


_SECTIONS = {"model", "data", "mixing", "loss", "optimizer", "run"}


def _filled(content: dict[Any, Any]) -> dict[Any, Any]:
    """Sections that are named and left empty have the defaults."""
    whole = {name: {} if value is None and name in _SECTIONS else value for name, value in content.items()}
    if isinstance(whole.get("data"), dict):
        whole["data"] = _filled(whole["data"])
    return whole


def anchored(recipe: Recipe) -> Recipe:
    """The same recipe for every working folder: its paths are absolute."""
    model, data = recipe.model, recipe.data
    if model.initial and model.initial != "pretrained":
        model = replace(model, initial=os.path.abspath(model.initial))
    if data.manifest:
        data = replace(data, manifest=os.path.abspath(data.manifest))
    return replace(recipe, model=model, data=data)


def save_recipe(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write a recipe with every field, for :func:`load_recipe` to read.

    Raises:
        OSError: the file can't be written.
        RecipeError: an argument of the network is nothing that YAML can hold.
    """
    try:
        text = yaml.safe_dump(plain(recipe), sort_keys=False)
    except yaml.YAMLError as error:
        raise RecipeError(
            f"model.arguments: expected numbers, text, lists and the like, got {error.args[-1]!r}"
        ) from error
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def plain(recipe: Recipe) -> dict[str, Any]:
    """A recipe as a file holds it: dictionaries and lists."""

    def lists(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: lists(inner) for key, inner in value.items()}
        return [lists(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    content: dict[str, Any] = lists(asdict(recipe))
    return content
