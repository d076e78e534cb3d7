"""Training recipes: one YAML file holds every setting of a training run.

Each dataclass below is one section of the file. Every field is optional. The settings of the file and of the command
line are checked against the annotations of the fields. Unknown names are rejected.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from typing_extensions import Self
from yaml.constructor import ConstructorError

from lite_rtse_ext.data.mixing import MixingOptions
from lite_rtse_ext.train.loss import LossOptions
from lite_rtse_ext.train.named_recipes import RECIPES, recipe_names
from lite_rtse_ext.utils.atomic_file import replacing
from lite_rtse_ext.utils.options import (
    STRICT,
    Count,
    Decibels,
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
    "TeacherRecipe",
    "anchored",
    "load_recipe",
    "plain",
    "save_recipe",
    "with_lists",
]


class RecipeError(ValueError):
    """A recipe cannot be read or used. The message says where and why."""


@dataclass(frozen=True, config=STRICT)
class ModelRecipe:
    """Settings of the network.

    The name of a network alone, ``model: gtcrn`` or ``model=gtcrn``, stands for that network with default settings.

    Args:
        class_path: dotted path of a torch.nn.Module class, or a name that ``lite-rtse models`` lists. The network maps
            a spectrogram ``(B, bins, T, 2)`` to a spectrogram of the same shape. Its ``signal`` states the bins; a
            module without this attribute gets 257.
        arguments: keyword arguments of the constructor.
        initial: path of the checkpoint to start from. "pretrained" stands for the weights of the package.
        input_gain: factor on the input spectrogram. The output is divided by the same factor.
        normalize_input: Lite-RTSE only. Scale the inputs of the first LSTM and of the fusion layer, bin by bin. The
            scales are measured on the training data. They are folded into the weights when these are saved. A network
            with ``compression`` or ``mask_branch`` has buffers for this. The mean and the deviation of the compressed
            magnitudes are stored in them, unless ``initial`` sets them.
        identity: Lite-RTSE only. Initialize the network such that its output is close to its input.
        unit_gain: Lite-RTSE only. Initialize the network such that the signal passes the convolution branch. Use it
            with ``compression``: with plain magnitudes the branch overflows.
        dropout: Lite-RTSE only. Probability that an output value of an LSTM is dropped in a training step.
        min_gain: Lite-RTSE only. Minimum gain below 1 kHz, above 2 kHz and, if it is another one, above 7 kHz. With 0.1
            no bin is attenuated by more than 20 dB, provided that the network's own output magnitude is not negative.
            Training steps do not apply the minimum gain; validation does. It is folded into the weights when these are
            saved.
        delayed_branch: name of a submodule with as many output channels as input channels. It joins the training at
            ``delayed_branch_step``. Until then it is not computed, and zeros replace its output.
        delayed_branch_step: the optimizer step at which the delayed branch joins.
        high_pass: whether the noisy and the clean waveform are high-pass filtered. Inference applies the same filter
            before the network; see :func:`lite_rtse_ext.audio.remove_offset`.
    """

    class_path: Text = "lite_rtse_ext.LiteRTSE"
    arguments: dict[Text, Any] = field(default_factory=dict)
    initial: Text | None = None
    input_gain: Positive = 1.0
    normalize_input: Flag = False
    identity: Flag = False
    unit_gain: Flag = False
    dropout: Share = 0.0
    min_gain: Annotated[tuple[Share, ...], Field(min_length=2, max_length=3)] = (0.0, 0.0)
    delayed_branch: Text | None = None
    delayed_branch_step: Whole = 0
    high_pass: Flag = True


@dataclass(frozen=True, config=STRICT)
class DataRecipe:
    """Settings of the training and validation data.

    Args:
        manifest: path of a manifest that ``lite-rtse prepare`` wrote.
        mixing: how examples are drawn.
        damaged: what to do about a missing or damaged file. "skip" names the file and skips it. "refuse" checks every
            file before the first step and stops if one is faulty.
        workers: number of processes that draw examples. 0 draws them in the training process.
        cache_megabytes: memory for cached audio in megabytes, for each of these processes.
    """

    manifest: Text = ""
    mixing: MixingOptions = field(default_factory=MixingOptions)
    damaged: Literal["skip", "refuse"] = "skip"
    workers: Annotated[Whole, Field(le=1024)] = 0
    cache_megabytes: NonNegative = 0.0


@dataclass(frozen=True, config=STRICT)
class TeacherRecipe:
    """Settings of a teacher: a trained network whose results are targets beside the clean signals.

    Args:
        checkpoint: path of the teacher's checkpoint, of any network that ``lite-rtse models`` lists. None trains on the
            clean signals alone.
        weight: share of the loss that has the teacher's results as targets. The clean signals have the rest.
        level_dbfs: level of each noisy example when the teacher gets it, as a root mean square in dB of full scale.
            Its result is brought back to the level of the example.
    """

    checkpoint: Text | None = None
    weight: Probability = 0.75
    level_dbfs: Decibels = -26.0


@dataclass(frozen=True, config=STRICT)
class OptimizerRecipe:
    """Settings of AdamW, with linear warm-up of the learning rate and cosine decay until the last step.

    Args:
        learning_rate: the peak learning rate.
        warmup_steps: number of warm-up steps.
        final_share: the final learning rate divided by the peak learning rate.
        betas: the betas of AdamW.
        weight_decay: the weight decay of AdamW.
        clip_norm: maximum norm of the gradient; larger gradients are scaled down. 0 disables clipping.
    """

    learning_rate: NonNegative = 1e-3
    warmup_steps: Whole = 200
    final_share: Probability = 0.01
    betas: tuple[Share, Share] = (0.9, 0.98)
    weight_decay: NonNegative = 1e-4
    clip_norm: NonNegative = 1.0


_BEST = dict.fromkeys(("valid/si_snr", "valid/si_snr_improvement"), "max")
_BEST |= dict.fromkeys(("valid/loss", "valid/complex", "valid/magnitude"), "min")
"""Which value of a validation metric is the best."""


@dataclass(frozen=True, config=STRICT)
class RunRecipe:
    """Settings of the training loop.

    Args:
        seed: seed of the initial parameters and of all random draws.
        batch_size: examples in one batch of one process.
        steps: total number of optimizer steps.
        epoch_batches: batches between two validations. 0 means one pass over all utterances.
        accumulate: number of batches whose gradients are accumulated into one optimizer step.
        average: decay per step of an exponential moving average of the weights, such as 0.999. The average is
            validated and written as the best weights. 0 disables averaging.
        save_every: optimizer steps between two checkpoints.
        monitor: name of the validation metric that selects the best weights.
        monitor_mode: whether the smallest or the largest value of this metric is the best. It is max for
            valid/si_snr and valid/si_snr_improvement, and min for valid/loss, valid/complex and valid/magnitude.
        patience: number of validations without improvement after which the run ends. 0 disables early stopping.
        precision: 32-true, bf16-mixed or 16-mixed.
        compile: whether to run the network through torch.compile.
        fuse: whether :func:`lite_rtse_ext.fuse` runs the blocks of other networks than Lite-RTSE on the fused
            operators. Parameters and their names stay the same. A network that is compiled is not fused. A teacher is
            fused by this setting, too.
        accelerator: auto, cpu or gpu.
        devices: number of processes, or of GPUs, on one machine. torchrun starts the processes.
        threads: CPU threads of one process. 0 keeps PyTorch's default.
        deterministic: whether to use deterministic algorithms only.
        cuda_graph: whether one GPU computes losses and gradients of a batch as a CUDA graph. If a network or a setting
            does not allow that, the run says so once and works without.
        examples: number of validation examples shown in TensorBoard.

    Raises:
        ValueError: an option is outside its limits, or ``monitor_mode`` would select the worst weights.
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
    fuse: Flag = True
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Count = 1
    threads: Annotated[Whole, Field(le=1024)] = 0
    deterministic: Flag = False
    cuda_graph: Flag = True
    examples: Whole = 3

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        best = _BEST.get(self.monitor, self.monitor_mode)
        if self.monitor_mode != best:
            raise ValueError(f"monitor_mode: expected {best} for {self.monitor}, got {self.monitor_mode}")
        return self


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """A whole recipe: one field for each section."""

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    loss: LossOptions = field(default_factory=LossOptions)
    teacher: TeacherRecipe = field(default_factory=TeacherRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    run: RunRecipe = field(default_factory=RunRecipe)


def load_recipe(name: str | os.PathLike[str], settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: path of a YAML file, or the name of a recipe in the package.
        settings: strings ``section.field=value``, which override the file. The values are parsed as YAML.
            ``model=NAME`` replaces the whole section model.

    Returns:
        The recipe. Fields that neither the file nor ``settings`` set have their defaults.

    Raises:
        OSError: the file does not exist or cannot be read.
        RecipeError: the file is not YAML, has an unknown name, or a value of the wrong type or range.
    """
    known = str(name) in recipe_names()
    path = RECIPES / f"{name}.yaml" if known else Path(name)
    content = _parsed(path.read_bytes(), str(name))
    if not isinstance(content, dict):
        raise RecipeError(f"{name}: expected sections, got {type(content).__name__}")
    if isinstance(content.get("model"), str):
        content["model"] = {"class_path": content["model"]}
    for setting in settings:
        _override(content, setting)
    try:
        return TypeAdapter(Recipe).validate_python(_filled(content))
    except ValidationError as error:
        raise RecipeError(f"{name}: {explain(error, 'recipe')}") from error


class _Loader(yaml.SafeLoader):
    """YAML loader that reads 2e-3 as a number, as YAML 1.2 does, and rejects duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ConstructorError(problem=f"{twice[0]} stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


_EXPONENT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _parsed(text: bytes | str, name: str) -> Any:
    """Parse a file (bytes) or a value of the command line (str). An empty file gives {}."""
    try:
        content = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: e.g. an impossible date
        raise RecipeError(f"{name}: not YAML ({' '.join(str(error).split())})") from error
    return {} if content is None and isinstance(text, bytes) else content


def _override(content: dict[Any, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    *path, last = key.split(".")
    if equals and key == "model":
        content["model"] = {"class_path": value}
        return
    if not equals or not path:
        raise RecipeError(f"{setting}: must be section.field=value or model=NAME")
    for part in path:
        inner = content.get(part)
        if not isinstance(inner, dict | None):
            raise RecipeError(f"{setting}: {part} is no section")
        content[part] = content = inner or {}
    content[last] = _parsed(value, setting)


_SECTIONS = {"model", "data", "mixing", "loss", "teacher", "optimizer", "run"}


def _filled(content: dict[Any, Any]) -> dict[Any, Any]:
    """Replace empty sections by {}, so that their fields get the defaults."""
    whole = {name: {} if value is None and name in _SECTIONS else value for name, value in content.items()}
    if isinstance(whole.get("data"), dict):
        whole["data"] = _filled(whole["data"])
    return whole


def anchored(recipe: Recipe) -> Recipe:
    """Return the recipe with absolute paths, so that it does not depend on the working directory."""
    model, data, teacher = recipe.model, recipe.data, recipe.teacher
    if model.initial and model.initial != "pretrained":
        model = replace(model, initial=os.path.abspath(model.initial))
    if data.manifest:
        data = replace(data, manifest=os.path.abspath(data.manifest))
    if teacher.checkpoint:
        teacher = replace(teacher, checkpoint=os.path.abspath(teacher.checkpoint))
    return replace(recipe, model=model, data=data, teacher=teacher)


def save_recipe(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write a recipe with all its fields. :func:`load_recipe` reads the file.

    Raises:
        OSError: the file cannot be written.
        RecipeError: an argument of the network cannot be represented in YAML.
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
    """Return the recipe as nested dictionaries and lists, as they are written to a file."""
    content: dict[str, Any] = with_lists(asdict(recipe))
    return content


def with_lists(value: Any) -> Any:
    """Return a value with lists in place of all tuples in it, as YAML has no tuples."""
    if isinstance(value, dict):
        return {key: with_lists(inner) for key, inner in value.items()}
    return [with_lists(inner) for inner in value] if isinstance(value, (list, tuple)) else value
