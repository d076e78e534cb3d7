"""A lock by which one process at a time uses a folder."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lite_rtse_ext.utils.atomic_file import has_name

__all__ = ["sole_user"]

_NAME = ".lite-rtse.lock"


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes that call this function, until the ``with`` block ends.

    A killed process releases its lock. Children that it forked, such as data loaders, do not keep it. On a file system
    without locks nothing is locked.

    Raises:
        BlockingIOError: another process has locked the folder.
        OSError: the folder can't be written to, or the name of the lock file is a symbolic link.
    """
    path = folder / _NAME
    descriptor = _locked(path)
    try:
        yield
    finally:
        if has_name(descriptor, path):  # the folder may have been moved, and another one may have its name
            path.unlink(missing_ok=True)
        os.close(descriptor)  # this also releases the lock


def _locked(path: Path) -> int:
    """Open and lock a file. Returns its descriptor."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # flock would leave the lock to forked children
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                os.close(descriptor)
                raise BlockingIOError(
                    errno.EAGAIN, "another process uses this folder", os.fspath(path.parent)
                ) from error
            return descriptor
        if has_name(descriptor, path):
            return descriptor
        os.close(descriptor)  # the process that held the lock has deleted the file
