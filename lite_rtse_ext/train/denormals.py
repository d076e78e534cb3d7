"""Gradients through time, and sound that fades, end in denormals.

Many processors compute with those by far slower than with other numbers. On others they cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lite_rtse_ext.ops import _native

__all__ = ["flushed_denormals"]


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Denormals count as zero within, in this thread and those that PyTorch has for it; afterwards as they did before.

    Set the number of threads before: those that are added within need not do as these.

    Raises:
        RuntimeError: the compiled operators are missing.
    """
    before = _native.flush_denormals()
    try:
        yield
    finally:
        _native.restore_denormals(before)
