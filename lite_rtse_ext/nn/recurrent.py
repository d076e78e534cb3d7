"""What the modules of PyTorch's recurrent layers have in common."""

from __future__ import annotations

import os

from torch import Tensor, nn

CUDNN = "cudnn"
"""The default value of the environment variables that say what computes a recurrent layer on CUDA."""


def directions(module: nn.RNNBase) -> int:
    return 2 if module.bidirectional else 1


def parameters(module: nn.RNNBase, layer: int, direction: int) -> tuple[list[Tensor], list[Tensor]]:
    """W_ih and W_hh, and b_ih and b_hh or nothing, of one layer and direction."""
    end = f"_l{layer}{'_reverse' if direction else ''}"
    weights = [getattr(module, name + end) for name in ("weight_ih", "weight_hh")]
    return weights, [getattr(module, name + end) for name in ("bias_ih", "bias_hh")] if module.bias else []


def chosen_on_cuda(variable: str, ours: str) -> str:
    """What computes a layer on CUDA: :data:`CUDNN`, or ``ours`` if the environment variable says so.

    Raises:
        ValueError: the variable has another value.
    """
    choice = os.environ.get(variable) or CUDNN
    if choice not in (CUDNN, ours):
        raise ValueError(f"{variable}: expected '{CUDNN}' or '{ours}', got '{choice}'")
    return choice
