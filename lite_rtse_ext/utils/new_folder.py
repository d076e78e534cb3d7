"""Output folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["NewFolders", "new_folder"]


class NewFolders:
    """Output folders of several tasks. Threads may share one object.

    A task can't delete the folder that it created: another one may be about to write there. So the object keeps a list,
    and :meth:`delete_empty` is called once all tasks are done.
    """

    def __init__(self) -> None:
        self._created: list[Path] = []

    def create(self, path: Path) -> None:
        """Create a folder and its parents, unless they exist.

        Raises:
            OSError: the folder can't be created.
        """
        self._created += [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(parents=True, exist_ok=True)

    def delete_empty(self) -> None:
        """Delete the folders that were created and hold nothing."""
        for each in sorted(self._created, key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):
                each.rmdir()


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Create a folder and its parents, unless they exist.

    If the ``with`` block raises an exception, the folders that were created are deleted, unless they hold something.

    Raises:
        OSError: the folder can't be created.
    """
    folders = NewFolders()
    try:
        folders.create(path)
        yield
    except BaseException:
        folders.delete_empty()
        raise
