"""What the modules ask of the tensors of a call."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def are_float32_on_cpu(tensors: Iterable[Tensor]) -> bool:
    """Whether all are strided tensors of the CPU in float32."""
    return all(t.device.type == "cpu" and t.dtype == torch.float32 and t.layout == torch.strided for t in tensors)
