"""Output folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["new_folder"]


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Create a folder and its parents, unless they exist.

    If the ``with`` block raises an exception, the folders that were created are deleted, unless they hold something.

    Raises:
        OSError: the folder can't be created.
    """
    created = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in created:
            with suppress(OSError):
                each.rmdir()
        raise
