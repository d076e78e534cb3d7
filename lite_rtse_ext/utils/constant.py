"""Constants as tensors on any device.

A copy from the CPU makes the CPU wait for a GPU, and a CUDA graph cannot hold it. So each constant is copied once.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from lite_rtse_ext.utils.tracing import is_recorded

__all__ = ["constant"]


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Return the values as a tensor of the dtype and device of ``like``. The result must not be changed.

    It is kept for good, so ``values`` should be one of few, such as a window. While a call is traced nothing is kept.
    """
    if is_recorded() or type(like) not in (Tensor, torch.nn.Parameter):  # a tracer's tensors have types of their own
        return like.new_tensor(values)
    return _kept(values, like.dtype, like.device)


@functools.cache
def _kept(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # it may become part of an autograd graph later
        return torch.tensor(values, dtype=dtype, device=device)
