"""A network to judge, from any of the files that training leaves behind."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from lite_rtse_ext.models import checkpoint
from lite_rtse_ext.models.checkpoint import CheckpointError

__all__ = ["load_model"]


def load_model(path: Path) -> nn.Module:
    """A network from spectrogram to spectrogram, ready to run.

    Args:
        path: parameters of Lite-RTSE (safetensors, or PyTorch's format), a checkpoint of ``lite-rtse train``, or the
            folder of a run, which knows its network's class and has the best weights.

    Raises:
        OSError: no such file, or it can't be read.
        CheckpointError: not a checkpoint; the message says why.
    """
    from lite_rtse_ext.models.lite_rtse import LiteRTSE

    if path.is_dir():
        return _from_run(path)
    state = checkpoint.read_state_dict(path)
    if "net.scale" not in state:
        return LiteRTSE.from_checkpoint(path).eval()
    from lite_rtse_ext.train.wrapper import ScaledLiteRTSE

    inner = {key.removeprefix("net.net."): value for key, value in state.items() if key.startswith("net.net.")}
    wrapped = ScaledLiteRTSE(checkpoint.build(LiteRTSE, inner), state["net.scale"], 1.0)
    _load(wrapped, {key.removeprefix("net."): value for key, value in state.items()}, path)
    return wrapped.eval()


def _from_run(folder: Path) -> nn.Module:
    from lite_rtse_ext.train.network import construct
    from lite_rtse_ext.train.recipe import load_recipe
    from lite_rtse_ext.train.run import BEST_WEIGHTS, RECIPE
    from lite_rtse_ext.train.wrapper import InputGain

    recipe = load_recipe(folder / RECIPE).model
    net = construct(recipe)
    _load(net, checkpoint.read_state_dict(folder / BEST_WEIGHTS), folder / BEST_WEIGHTS)
    from lite_rtse_ext.reference import LiteRTSE

    return (net if isinstance(net, LiteRTSE) else InputGain(net, recipe.input_gain)).eval()


def _load(net: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    try:
        checkpoint.load_into(net, state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
