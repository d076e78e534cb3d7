"""What a block reads from convolutions that it holds but does not call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

__all__ = ["operands", "run_weight_hooks"]

_WEIGHT_HOOKS = (BasePruningMethod, SpectralNorm, WeightNorm)


def operands(convs: Sequence[nn.Module]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases as they are now: to be read anew in each forward.

    A parametrized convolution computes its weight when it is read, pruning and the older norms before.
    """
    run_weight_hooks(convs)
    return [conv.weight for conv in convs], [conv.bias for conv in convs]  # type: ignore[misc]


def run_weight_hooks(modules: Iterable[nn.Module]) -> None:
    """Let pruning and the older weight and spectral norm compute their weights, which a call would do first."""
    for module in modules:
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, _WEIGHT_HOOKS):
                hook(module, ())
