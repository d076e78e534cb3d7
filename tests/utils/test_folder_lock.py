"""One process at a time uses a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lite_rtse_ext.utils.folder_lock import sole_user

HOLD = """
import os, sys, time
from pathlib import Path
from lite_rtse_ext.utils.folder_lock import sole_user

with sole_user(Path(sys.argv[1])):
    if not os.fork():  # a data loader, which outlives the process
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has locked a folder. Its child lives on until the end."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_another_process_is_refused_until_the_first_one_is_killed(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        with pytest.raises(BlockingIOError, match="another process uses this folder") as raised, sole_user(tmp_path):
            pass
        assert raised.value.filename == str(tmp_path)
        assert (tmp_path / ".lite-rtse.lock").exists()
        first.kill()
        first.wait()
        with sole_user(tmp_path):
            pass
        assert not list(tmp_path.iterdir())


def test_the_lock_ends_with_the_block(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fault"), sole_user(tmp_path):
        raise ValueError("fault")
    assert not list(tmp_path.iterdir())
    with holder(tmp_path):
        pass


def test_a_file_that_was_deleted_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that held the lock deletes the file between our opening and our locking."""
    opened, real = [], os.open

    def delete_once(path: Path, *arguments: int) -> int:
        descriptor = real(path, *arguments)
        if not opened:
            path.unlink()
        opened.append(descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", delete_once)
    with sole_user(tmp_path):
        assert (tmp_path / ".lite-rtse.lock").exists()
    assert len(opened) == 2


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), sole_user(tmp_path / "nowhere"):
        pass


def test_the_lock_of_a_new_folder_with_the_same_name_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    first = sole_user(folder)
    first.__enter__()
    folder.rename(tmp_path / "moved")
    folder.mkdir()
    with holder(folder):
        first.__exit__(None, None, None)
        with pytest.raises(BlockingIOError), sole_user(folder):
            pass


def test_a_folder_and_a_link_to_it_are_one(tmp_path: Path) -> None:
    folder, link = tmp_path / "run", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    with holder(folder), pytest.raises(BlockingIOError, match="another process"), sole_user(link):
        pass


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    """It would never name the open file, so that the function would not return."""
    (tmp_path / ".lite-rtse.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), sole_user(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
