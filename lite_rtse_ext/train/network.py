"""Construction of the network that a recipe describes."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from lite_rtse_ext.audio.high_pass import remove_offset
from lite_rtse_ext.data.dataset import TrainingExamples
from lite_rtse_ext.models import checkpoint
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.models.min_gain import change, per_bin
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.models.registry import find_model
from lite_rtse_ext.reference import LiteRTSE
from lite_rtse_ext.signal import SAMPLE_RATE_HZ, SIGNAL
from lite_rtse_ext.train.initial import begin_as_identity, begin_with_unit_gain, measure_scale, standardize
from lite_rtse_ext.train.recipe import ModelRecipe, RecipeError
from lite_rtse_ext.train.wrapper import ScaledLiteRTSE

__all__ = ["build_network", "construct"]

_SCALE_EXAMPLES = 256


def build_network(recipe: ModelRecipe, examples: TrainingExamples, resumed: bool = False) -> InputGain | ScaledLiteRTSE:
    """Construct the network of a recipe inside its training wrapper.

    Args:
        recipe: section model of the recipe.
        examples: training examples, on which the input scales are measured.
        resumed: whether a checkpoint will set the parameters and scales. If so, neither ``initial`` nor the examples
            are read.

    Returns:
        A :class:`ScaledLiteRTSE` for Lite-RTSE, an :class:`InputGain` for any other network.

    Raises:
        RecipeError: the class does not exist, or it does not fit the recipe.
        CheckpointError: ``initial`` is not a checkpoint of this network.
    """
    if recipe.unit_gain and (recipe.identity or recipe.delayed_branch):
        # Saved weights hold no delay, so the output of a branch that has not joined must be zero.
        raise RecipeError("model.unit_gain: expected neither identity nor delayed_branch beside it, got one of them")
    net = construct(recipe)
    rate = getattr(net, "signal", SIGNAL).sample_rate
    if rate != SAMPLE_RATE_HZ:
        raise RecipeError(f"model: expected a network for {SAMPLE_RATE_HZ} Hz, as the data is, got one for {rate} Hz")
    if recipe.initial and not resumed:
        path = pretrained_path() if recipe.initial == "pretrained" else recipe.initial
        checkpoint.load_parameters(net, path)
    if not isinstance(net, LiteRTSE):
        if recipe.normalize_input or recipe.identity or recipe.unit_gain or recipe.dropout or any(recipe.min_gain):
            raise RecipeError(
                "model.normalize_input, identity, unit_gain, dropout and min_gain are for Lite-RTSE alone"
            )
        return InputGain(net, recipe.input_gain)
    scale = torch.full((net.bins,), recipe.input_gain)
    if recipe.normalize_input and not resumed:
        noisy = (examples[0, place].noisy for place in range(_SCALE_EXAMPLES))
        heard = map(remove_offset, noisy) if recipe.high_pass else noisy
        if not net.standardized:
            scale = measure_scale(heard, net.signal)
        elif not recipe.initial:
            standardize(net, heard)
    if any(recipe.min_gain):
        if net.min_gain is not None:  # of the initial parameters; the wrapper expects that of the recipe
            change(net, recipe.min_gain)
        net.min_gain = recipe.min_gain
    else:
        net.min_gain = None  # training may change what it was
    min_gain = torch.from_numpy(per_bin(net.bins, recipe.min_gain)).float()
    if recipe.initial:
        return ScaledLiteRTSE(net, scale, recipe.input_gain, recipe.dropout, min_gain)
    # The constructor would divide the weights by the scales. Here the inner network keeps its usual initial values,
    # so the scales are set afterwards, without compensation.
    scaled = ScaledLiteRTSE(net, torch.ones_like(scale), 1.0, recipe.dropout)
    scaled.scale.copy_(scale)
    scaled.input_gain.fill_(recipe.input_gain)
    scaled.min_gain.copy_(min_gain)
    if recipe.identity:
        begin_as_identity(net)
    if recipe.unit_gain:
        begin_with_unit_gain(net)
    return scaled


def construct(recipe: ModelRecipe) -> nn.Module:
    """Construct the network alone, with its initial values.

    Raises:
        RecipeError: the class does not exist, or it does not accept these arguments.
    """
    kind = _class(recipe.class_path)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise RecipeError(f"model.class_path: {recipe.class_path} is no torch.nn.Module")
    try:
        return kind(**recipe.arguments)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"model.arguments: {error}") from error


def _class(path: str) -> Any:
    """Find the class of a dotted path or of a registered name."""
    module_name, _, class_name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), class_name) if module_name else find_model(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(f"model.class_path: no class {path} ({error})") from error
