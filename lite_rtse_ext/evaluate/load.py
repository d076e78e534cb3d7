"""A network to judge, from any of the files that training leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models import checkpoint
from lite_rtse_ext.models.checkpoint import CheckpointError

__all__ = ["load_model"]


def load_model(path: Path) -> SpectrogramModel:
    """A network, ready to run.

    Args:
        path: a network's file (safetensors, or PyTorch's format), a checkpoint of Lite-RTSE by ``lite-rtse train``, or
            the folder of a run, which knows its network's class and has the best weights.

    Raises:
        OSError: no such file, or it can't be read.
        CheckpointError: not a checkpoint; the message says why.
    """
    if path.is_dir():
        return _from_run(path).eval()
    state = checkpoint.read_state_dict(path)
    return (_in_training(state, path) if "net.scale" in state else checkpoint.load_model(path)).eval()


def _in_training(state: Mapping[str, Tensor], path: Path) -> SpectrogramModel:
    from lite_rtse_ext.models.lite_rtse import LiteRTSE
    from lite_rtse_ext.train.wrapper import ScaledLiteRTSE

    inner = {key.removeprefix("net.net."): value for key, value in state.items() if key.startswith("net.net.")}
    own = {key.removeprefix("net."): value for key, value in state.items()}
    try:
        wrapped = ScaledLiteRTSE(checkpoint.build(LiteRTSE, inner), state["net.scale"], 1.0)
        checkpoint.load_into(wrapped, own)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return wrapped


def _from_run(folder: Path) -> SpectrogramModel:
    from lite_rtse_ext.models.input_gain import InputGain
    from lite_rtse_ext.reference import LiteRTSE
    from lite_rtse_ext.train.network import construct
    from lite_rtse_ext.train.recipe import load_recipe
    from lite_rtse_ext.train.run import BEST_WEIGHTS, RECIPE

    recipe = load_recipe(folder / RECIPE).model
    net = construct(recipe)
    checkpoint.load_parameters(net, folder / BEST_WEIGHTS)
    return net if isinstance(net, LiteRTSE) else InputGain(net, recipe.input_gain)
