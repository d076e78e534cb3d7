"""What the modules of PyTorch's recurrent layers have in common."""

from __future__ import annotations

from torch import Tensor, nn


def directions(module: nn.RNNBase) -> int:
    return 2 if module.bidirectional else 1


def parameters(module: nn.RNNBase, layer: int, direction: int) -> tuple[list[Tensor], list[Tensor]]:
    """W_ih and W_hh, and b_ih and b_hh or nothing, of one layer and direction."""
    end = f"_l{layer}{'_reverse' if direction else ''}"
    weights = [getattr(module, name + end) for name in ("weight_ih", "weight_hh")]
    return weights, [getattr(module, name + end) for name in ("bias_ih", "bias_hh")] if module.bias else []
