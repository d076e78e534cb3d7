"""Files that appear under their name complete or not at all."""

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

__all__ = ["kind_of", "replaceable", "replacing"]

FilePath = str | os.PathLike[str]

_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def kind_of(path: FilePath) -> str:
    """What is at a path, in words with their article; links are followed.

    Raises:
        OSError: nothing is there, or it can't be told.
    """
    return _kind(os.stat(path))


def replaceable(path: FilePath) -> os.stat_result | None:
    """The state of the regular file that a new file at ``path`` would replace; nothing where the name is free.

    Raises:
        OSError: something else has that name (a folder, a pipe, a device), or the name can't be had. Names ``path``.
    """
    try:
        with _about(path):
            status = os.stat(path)
    except FileNotFoundError:
        return None
    kind = _kind(status)
    if stat.S_ISREG(status.st_mode) and not os.path.exists(os.path.realpath(path)):  # /proc/self/fd/3, say
        kind = "a deleted file"
    if kind != _KINDS[stat.S_IFREG]:
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, f"expected a regular file or a new name, got {kind}", os.fspath(path))
    return status


@contextmanager
def replacing(path: FilePath) -> Iterator[Path]:
    """A temporary file beside ``path``: it takes that name if the block ends well, and vanishes if it doesn't.

    A symbolic link is followed: the file it points to is replaced. A file that is replaced passes its permissions on,
    and its owner where that is allowed. The content is on the disk before the name is.

    A process that was killed leaves its temporary file behind. The next one that writes to ``path`` takes it away.

    Raises:
        OSError: the folder does not exist or can't be written to, or ``path`` is neither free nor a regular file.
            Names ``path``, not the temporary file.
    """
    before = replaceable(path)
    target = Path(os.path.realpath(path))
    with _about(path):
        temporary, descriptor = _reserve(target, 0o600 if before else 0o666)  # the latter less what umask takes away
    try:
        yield temporary
        with _about(path):
            if before:
                _pass_on(before, temporary)
            os.fsync(descriptor)
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)  # the lock goes with it


def _reserve(target: Path, mode: int) -> tuple[Path, int]:
    """A new temporary file for ``target``, and the descriptor that holds a lock on it for as long as it is written.

    Its name is short, however long the target's is, and always the same but for a number. That is how a file that was
    left behind is found. The lock tells it from one that another process is writing now.
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
    raise AssertionError  # numbers do not end


def _is_locked(descriptor: int, temporary: Path) -> bool:
    """Locks a file that was just made; false if another process took it for one that was left behind."""
    with suppress(OSError):  # a file system without locks: no process takes files away there
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return _has_name(descriptor, temporary)


def _is_free(temporary: Path) -> bool:
    """Whether the name is free, if need be after a file that no process is writing any more was taken away."""
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return error.errno == errno.ENOENT
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _has_name(descriptor, temporary):  # its writer may have renamed it meanwhile
            os.unlink(temporary)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _has_name(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _pass_on(before: os.stat_result, temporary: Path) -> None:
    """Gives a file the owner and the permissions of the one that it replaces."""
    now = os.stat(temporary)
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        with suppress(PermissionError):
            os.chown(temporary, before.st_uid, before.st_gid)
    if (before.st_mode ^ now.st_mode) & 0o777:  # some file systems know one mode only
        os.chmod(temporary, before.st_mode & 0o777)


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")


@contextmanager
def _about(path: FilePath) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"can't be written ({error.strerror or error})", os.fspath(path)) from error
