"""Files that appear under their name complete or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside ``path``: it takes that name if the block ends well, and vanishes if it doesn't.

    A symbolic link is followed: the file it points to is replaced.

    Raises:
        OSError: the folder does not exist or can't be written to, or ``path`` is a folder. Names ``path``, not the
            temporary file.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file to write", str(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    with _about(path):
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less what umask takes away
    try:
        yield temporary
        with _about(path):
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _about(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"can't be written ({error.strerror})", str(path)) from error
