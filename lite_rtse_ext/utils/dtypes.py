"""Types of numbers for what half types cannot compute."""

from __future__ import annotations

import torch

__all__ = ["at_least_float32"]


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype itself, or float32 if it has 16 bits: PyTorch's transforms take none of these."""
    return torch.promote_types(dtype, torch.float32)
