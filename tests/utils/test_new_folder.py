"""Output folders of work that succeeds and fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from lite_rtse_ext.utils.new_folder import NewFolders, new_folder


def test_it_stays_after_success(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b"):
        pass
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_a_failure_what_was_created_and_is_empty_goes(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(error), new_folder(tmp_path / "old" / "a" / "b"):
        raise error
    with pytest.raises(error), new_folder(tmp_path / "old"):
        raise error
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]


def test_after_a_failure_what_holds_something_stays(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), new_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b").rename(tmp_path / "a" / "kept").mkdir()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "kept"]


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), new_folder(tmp_path / "file" / "a"):
        pytest.fail("it can't be created")
    assert (tmp_path / "file").is_file()


def test_of_several_those_that_are_empty_in_the_end_go(tmp_path: Path) -> None:
    folders = NewFolders()
    (tmp_path / "old").mkdir()
    for name in ("old/a/b", "new/c", "new/d/e", "new/c"):
        folders.create(tmp_path / name)
    (tmp_path / "new" / "c" / "file").touch()
    folders.delete_empty()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / name for name in ("new", "new/c", "new/c/file", "old")]
