"""Weights and biases of convolutions that a block holds but does not call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

__all__ = ["operands", "run_weight_hooks"]

_WEIGHT_HOOKS = (BasePruningMethod, SpectralNorm, WeightNorm)


def operands(convs: Sequence[nn.Module]) -> tuple[list[Tensor], list[Tensor]]:
    """The current weights and biases. Each forward must read them again.

    A parametrized convolution computes its weight when the weight is read. Pruning and the older weight and spectral
    norm compute it before, in a hook that this function runs.
    """
    run_weight_hooks(convs)
    return [conv.weight for conv in convs], [conv.bias for conv in convs]  # type: ignore[misc]


def run_weight_hooks(modules: Iterable[nn.Module]) -> None:
    """Run the hooks with which pruning and the older weight and spectral norm compute a weight before each call."""
    for module in modules:
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, _WEIGHT_HOOKS):
                hook(module, ())
