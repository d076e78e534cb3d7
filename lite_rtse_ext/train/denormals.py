"""Flushing of denormal numbers to zero.

Gradients through time and decaying signals end in denormal numbers. Many processors compute with these far more
slowly than with other numbers. On other processors denormals cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lite_rtse_ext.ops import _native

__all__ = ["flushed_denormals"]


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Flush denormals to zero within the block, in this thread and in PyTorch's worker threads.

    The previous setting is restored after the block. Set the number of threads before the block: threads that are
    added within it may not flush denormals.

    Raises:
        RuntimeError: the compiled operators are missing.
    """
    before = _native.flush_denormals()
    try:
        yield
    finally:
        _native.restore_denormals(before)
