"""Files that appear complete or not at all: names of any length, permissions, what is never replaced, what is left
behind by a process that was killed."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lite_rtse_ext.utils.atomic_file import kind_of, replaceable, replacing

from .special import SPECIAL


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path: Path, kind: str, linked: bool) -> None:
    path = tmp_path / "target"
    SPECIAL[kind](path)
    if linked:
        path = tmp_path / "link"
        path.symlink_to("target")
    before = {entry.name: entry.lstat() for entry in tmp_path.iterdir()}
    with pytest.raises(OSError, match=f"expected a regular file or a new name, got {kind}") as refused, replacing(path):
        pytest.fail("the block must not run")
    assert refused.value.filename == str(path)
    assert kind_of(path) == kind
    assert {entry.name: entry.lstat().st_ino for entry in tmp_path.iterdir()} == {
        name: status.st_ino for name, status in before.items()
    }


def test_a_deleted_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "gone").open("w") as file:
        (tmp_path / "gone").unlink()
        path = f"/proc/self/fd/{file.fileno()}"
        if not os.path.exists(path):
            pytest.skip("this system has no /proc")
        with pytest.raises(OSError, match="got a deleted file"), replacing(path):
            pytest.fail("the block must not run")
    assert list(tmp_path.iterdir()) == []


LENGTHS = [1, 2, 200, *range(238, 256)]


@pytest.mark.parametrize("letter", ["a", "é", "声", "\udce9"])
def test_names_of_every_length(tmp_path: Path, letter: str) -> None:
    """Up to 255 bytes, the most that file systems take; a letter may have three of them, or be no character at all."""
    for length in LENGTHS:
        size = len(os.fsencode(letter))
        path = tmp_path / (letter * (length // size) + "x" * (length % size))
        assert len(os.fsencode(path.name)) == length
        for content in ("new", "replaced"):
            with replacing(path) as temporary:
                temporary.write_text(content)
            assert path.read_text() == content
    assert len(os.listdir(tmp_path)) == len(LENGTHS)


def test_a_name_that_is_too_long_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"can't be written \(File name too long\)"), replacing(tmp_path / ("a" * 256)):
        pytest.fail("the block must not run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o666, 0o755, 0o400])
@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
@pytest.mark.parametrize("linked", [False, True])
def test_the_permissions_of_a_file_stay(tmp_path: Path, mode: int, umask: int, linked: bool) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    if linked:
        (tmp_path / "link").symlink_to("file")
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "link" if linked else path) as temporary:
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600  # nobody reads along
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)
    assert not linked or (tmp_path / "link").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_of_a_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, 12, 34)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12, 34)


def test_a_link_to_nothing_yet_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("folder/file")
    (tmp_path / "folder").mkdir()
    with replacing(tmp_path / "link") as temporary:
        assert temporary.parent == tmp_path / "folder"
        temporary.write_text("new")
    assert (tmp_path / "folder" / "file").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_replaceable_tells_what_is_there(tmp_path: Path) -> None:
    assert replaceable(tmp_path / "free") is None
    (tmp_path / "file").write_text("four")
    status = replaceable(tmp_path / "file")
    assert status is not None
    assert status.st_size == 4


KILLED = """
import os, signal, sys
from lite_rtse_ext.utils.atomic_file import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_leaves_is_taken_away_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(3):  # never more than one is left
        done = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
        assert done.returncode == -signal.SIGKILL
        (left,) = tmp_path.iterdir()
        assert left.name.startswith(".lite-rtse.")
        assert left.name.endswith(".part")
    with replacing(tmp_path / "other"):
        assert left.exists()  # it may be worth something to whoever writes that file
    with replacing(path) as temporary:
        assert temporary.read_text() == ""
        temporary.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


def test_processes_that_write_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            assert second != first
            second.write_text("second")
        assert path.read_text() == "second"
        with pytest.raises(KeyboardInterrupt), replacing(path):
            raise KeyboardInterrupt
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["file"]


MANY = """
import sys
from lite_rtse_ext.utils.atomic_file import replacing
for _ in range(40):
    with replacing(sys.argv[1]) as temporary:
        temporary.write_text(sys.argv[2] * 1000)
"""


def test_many_processes_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    writers = [subprocess.Popen([sys.executable, "-c", MANY, path, letter]) for letter in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    content = path.read_text()
    assert content == content[0] * 1000
    assert os.listdir(tmp_path) == ["file"]


@contextmanager
def _without_locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise OSError("no locks on this file system")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        yield


def test_without_locks_nothing_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    (left,) = tmp_path.iterdir()
    with _without_locks(monkeypatch), replacing(path) as temporary:
        temporary.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == sorted(["file", left.name])


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_bears_the_name_of_a_temporary_file_stops_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    with replacing(path) as temporary:
        pass
    path.unlink()
    (tmp_path / "victim").write_text("precious")
    temporary.symlink_to("victim")
    SPECIAL[kind](temporary.with_name(temporary.name.replace(".0.", ".1.")))
    with replacing(path) as another:
        another.write_text("whole")
    assert path.read_text() == "whole"
    assert (tmp_path / "victim").read_text() == "precious"
