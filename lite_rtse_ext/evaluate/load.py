"""Loading of a network for evaluation, from any of the files that training writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models import checkpoint
from lite_rtse_ext.models.checkpoint import CheckpointError

__all__ = ["load_model"]


def load_model(path: Path) -> SpectrogramModel:
    """Load a network in evaluation mode.

    Args:
        path: a file of network weights (safetensors or PyTorch's format). Or a checkpoint of Lite-RTSE that
            ``lite-rtse train`` wrote. Or the folder of a run: its recipe gives the class of the network, and its best
            weights are loaded.

    Raises:
        OSError: the file does not exist or cannot be read.
        CheckpointError: the file is not a checkpoint. The message says why.
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
