"""What the modules ask of the tensors of a call."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def are_float32_on_cpu(tensors: Iterable[Tensor]) -> bool:
    """Whether all are strided tensors of the CPU in float32, and hold their numbers themselves."""
    return all(
        t.device.type == "cpu" and t.dtype == torch.float32 and t.layout == torch.strided and _is_plain(t)
        for t in tensors
    )


def _is_plain(t: Tensor) -> bool:
    """Whether PyTorch's own kernels compute with it.

    A quantized weight of torchao is a tensor with a dispatch of its own, which knows few operators. It calls itself
    float32. In compiled code the types of tensors do not tell.
    """
    return torch.compiler.is_compiling() or type(t).__torch_dispatch__ is Tensor.__torch_dispatch__


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of an image lie side by side in memory, as ``torch.channels_last`` has them."""
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
