"""Gradients through time, and sound that fades, end in denormals, on which processors are slow: six times as slow in a
backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["flushed_denormals"]


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Denormals count as zero within, in this thread; afterwards as they did before."""
    flushed = bool(torch.tensor(1e-30) * 1e-10 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
