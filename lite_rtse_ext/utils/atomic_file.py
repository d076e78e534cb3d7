"""Atomic files: a file appears under its name only when it is complete."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

__all__ = ["has_name", "kind_of", "naming_full_disk", "replaceable", "replacing", "writing"]

FilePath = str | os.PathLike[str]

_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that only a write meets. Python does not say which file it wrote."""


def kind_of(path: FilePath) -> str:
    """Describe what exists at a path in words with their article, such as "a folder". Links are followed.

    Raises:
        OSError: the path does not exist, or can't be examined.
    """
    return _kind(os.stat(path))


def replaceable(path: FilePath) -> os.stat_result | None:
    """Return the status of the regular file that a new file at ``path`` would replace. None if the name is free.

    Raises:
        OSError: the path is something else (a folder, a pipe, a device), or can't be examined. The error names
            ``path``.
    """
    try:
        with writing(path):
            status = os.stat(path)
    except FileNotFoundError:
        return None
    kind = _kind(status)
    if stat.S_ISREG(status.st_mode) and not os.path.exists(os.path.realpath(path)):  # such as /proc/self/fd/3
        kind = "a deleted file"
    if kind != _KINDS[stat.S_IFREG]:
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, f"expected a regular file or a new name, got {kind}", os.fspath(path))
    return status


@contextmanager
def replacing(path: FilePath) -> Iterator[Path]:
    """Create a temporary file beside ``path``. The file is renamed to ``path`` if the ``with`` block succeeds.

    It is deleted if the block raises an exception. A symbolic link is followed: its target is replaced. The new file
    gets the permissions of the file that it replaces, and its owner if that is allowed. The content is synced to the
    disk before the file is renamed.

    A killed process leaves its temporary file behind. The next process that writes to ``path`` deletes it.

    Yields:
        The path of the temporary file.

    Raises:
        OSError: the folder does not exist or can't be written to, ``path`` is neither free nor a regular file, or the
            disk is full. The error names ``path``, not the temporary file.
    """
    before = replaceable(path)
    target = Path(os.path.realpath(path))
    with writing(path):
        temporary, descriptor = _reserve(target, 0o600 if before else 0o666)  # umask applies to the latter
    try:
        with naming_full_disk(path):
            yield temporary
        with writing(path):
            if before:
                _pass_on(before, temporary)
            os.fsync(descriptor)
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)  # this also releases the lock


def _reserve(target: Path, mode: int) -> tuple[Path, int]:
    """Create a temporary file for ``target``, and return it with its descriptor, which holds a lock while it is open.

    The name is short, even if the target's name is long. For one target it differs only in a number, so files that were
    left behind are found. The lock distinguishes these from files that another process is writing.
    """
    name = hashlib.blake2b(os.fsencode(target.name), digest_size=8).hexdigest()
    for number in count():
        temporary = target.with_name(f".lite-rtse.{name}.{number}.part")
        while _is_free(temporary):
            with suppress(FileExistsError):
                descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
                if _is_locked(descriptor, temporary):
                    return temporary, descriptor
                os.close(descriptor)
    raise AssertionError  # not reached: count() is infinite


def _is_locked(descriptor: int, temporary: Path) -> bool:
    """Lock a new file. Return False if another process deleted it because it seemed left behind."""
    with suppress(OSError):  # a file system without locks, where no process deletes such files
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return has_name(descriptor, temporary)


def _is_free(temporary: Path) -> bool:
    """Return whether the name is free. A file that no process is writing any more is deleted first."""
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return error.errno == errno.ENOENT
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if has_name(descriptor, temporary):  # its writer may have renamed it in the meantime
            os.unlink(temporary)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def has_name(descriptor: int, path: Path) -> bool:
    """Return whether a path names the open file of a descriptor."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _pass_on(before: os.stat_result, temporary: Path) -> None:
    """Set the owner and the permissions of a file to those of the file that it replaces."""
    now = os.stat(temporary)
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        with suppress(PermissionError):
            os.chown(temporary, before.st_uid, before.st_gid)
    if (before.st_mode ^ now.st_mode) & 0o777:  # some file systems support only one mode
        os.chmod(temporary, before.st_mode & 0o777)


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")


@contextmanager
def writing(path: FilePath) -> Iterator[None]:
    """Make an OSError of the ``with`` block say that ``path`` can't be written.

    Raises:
        OSError: as the block, with the name of ``path``.
    """
    try:
        yield
    except OSError as error:
        raise _unwritten(path, error) from error


@contextmanager
def naming_full_disk(path: FilePath) -> Iterator[None]:
    """Make the error of a full disk name ``path``. Some libraries raise an error of their own in its place.

    Raises:
        OSError: as the block, with the name of ``path``. An error that has a name keeps it.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None or cause.errno not in _NO_ROOM or cause.filename is not None:
            raise
        raise _unwritten(path, cause) from error


def _unwritten(path: FilePath, error: OSError) -> OSError:
    return OSError(error.errno, f"can't be written ({error.strerror or error})", os.fspath(path))
