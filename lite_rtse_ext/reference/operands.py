"""Weights and biases of convolutions that a block holds but does not call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from lite_rtse_ext.utils.hooks import has_hooks, hooks_of

__all__ = ["are_plain", "operands", "run_weight_hooks"]

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_WEIGHT_HOOKS = (BasePruningMethod, SpectralNorm, WeightNorm)


def are_plain(convs: Iterable[nn.Module]) -> bool:
    """Whether weight and bias say what each convolution computes, so that a block need not call it.

    They do not if another class, a forward of its own or a hook computes more. Adapters and quantization replace a
    convolution in a block by one of their classes. A parametrized one computes its weight when the weight is read.
    """
    return all(map(_is_plain, convs))


def _is_plain(conv: nn.Module) -> bool:
    known = type(conv) in _CONVOLUTIONS or parametrize.is_parametrized(conv)
    if not known or "forward" in vars(conv):
        return False
    return not has_hooks(conv) or all(isinstance(hook, _WEIGHT_HOOKS) for hook in hooks_of(conv))


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
