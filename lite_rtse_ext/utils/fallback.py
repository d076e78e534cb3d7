"""Says once that something runs in another way than asked for, with the reason."""

from __future__ import annotations

import functools
import warnings

import torch

__all__ = ["FallbackWarning", "say_fallback"]


class FallbackWarning(UserWarning):
    """A module computes in plain PyTorch where it has a fused operator."""


def say_fallback(message: str) -> None:
    """Warn with this message, once in a process. A compiled graph says nothing."""
    if not torch.compiler.is_compiling():
        _warn(message)


@functools.cache
def _warn(message: str) -> None:
    warnings.warn(message, FallbackWarning, stacklevel=5)
