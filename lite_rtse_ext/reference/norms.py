"""The operator of batch norm and PReLU in plain PyTorch. Its modules are PyTorch's own."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["channel_statistics", "norm_prelu"]


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the variance of each channel of x (B, C, N), divided by the number of values."""
    mean = x.mean((0, 2))
    return mean, (x - mean[:, None]).square().mean((0, 2))


def norm_prelu(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    slope: Tensor | None = None,
    mean: Tensor | None = None,
    var: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Batch norm and PReLU: z for z > 0 and slope · z otherwise, with z = weight (x - mean) / sqrt(var + eps) + bias.

    Args:
        x: (B, C, N).
        weight, bias: (C,), or None, which stands for ones and zeros.
        slope: (C,) or (1,), or None, which leaves the PReLU out.
        mean, var: (C,), or None, which stands for :func:`channel_statistics`.
        eps: added to the variance.

    Returns:
        (B, C, N).
    """
    if mean is None or var is None:
        mean, var = channel_statistics(x)
    z = (x - mean[:, None]) * (var + eps).rsqrt()[:, None]
    z = z if weight is None else z * weight[:, None]
    z = z if bias is None else z + bias[:, None]
    return z if slope is None else torch.where(z > 0, z, slope[:, None] * z)
