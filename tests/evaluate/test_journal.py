"""Results that outlive an interrupted run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lite_rtse_ext.evaluate.journal import Journal, stamp
from lite_rtse_ext.evaluate.result import Result

from ..utils.full_disk import full_disk

ABOUT = {"model": "m", "files": [["m", 1, 2]]}
DONE = Result("a", "rain", 5.0, 2.0, {"si_snr": 1.0}, {"si_snr": 2.5})


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    return path


def test_a_run_goes_on_where_it_was(tmp_path: Path, recording: Path) -> None:
    of = stamp([recording])
    Journal(tmp_path / "j", ABOUT).add(DONE, of)
    again = Journal(tmp_path / "j", ABOUT)
    assert again.result("a", of) == DONE
    again.add(Result("b", None, None, 1.0), of)
    assert Journal(tmp_path / "j", ABOUT).count == 2
    again.remove()
    assert Journal(tmp_path / "j", ABOUT).count == 0


def test_what_has_changed_is_judged_anew(tmp_path: Path, recording: Path) -> None:
    Journal(tmp_path / "j", ABOUT).add(DONE, stamp([recording]))
    recording.write_bytes(b"other sound")
    assert Journal(tmp_path / "j", ABOUT).result("a", stamp([recording])) is None
    recording.unlink()
    assert Journal(tmp_path / "j", ABOUT).result("a", stamp([recording])) is None
    assert Journal(tmp_path / "j", ABOUT | {"model": "another"}).count == 0


def test_faults_are_tried_again_and_torn_lines_forgotten(tmp_path: Path, recording: Path) -> None:
    of = stamp([recording])
    journal = Journal(tmp_path / "j", ABOUT)
    journal.add(Result("broken", None, None, 0.0, errors=("no such file",)), of)
    assert not (tmp_path / "j").exists()
    journal.add(DONE, of)
    journal.add(Result("b", None, None, 1.0), of)
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole[:-20])
    again = Journal(tmp_path / "j", ABOUT)
    assert (again.result("a", of), again.result("b", of)) == (DONE, None)
    (tmp_path / "j").write_bytes(b"\xff no journal")
    assert Journal(tmp_path / "j", ABOUT).count == 0


def test_a_torn_line_takes_no_other_with_it(tmp_path: Path, recording: Path) -> None:
    of = stamp([recording])
    journal = Journal(tmp_path / "j", ABOUT)
    journal.add(DONE, of)
    journal.add(Result("b", None, None, 1.0), of)
    whole = (tmp_path / "j").read_bytes()
    added = Result("c", None, None, 1.0)
    for length in range(len(whole) + 1):  # the process may end after any byte
        (tmp_path / "j").write_bytes(whole[:length])
        again = Journal(tmp_path / "j", ABOUT)
        before = [again.result(name, of) for name in "ab"]
        again.add(added, of)
        resumed = Journal(tmp_path / "j", ABOUT)
        assert [resumed.result(name, of) for name in "abc"] == [*before, added]


def test_a_journal_that_ends_with_a_line_end_is_continued(tmp_path: Path, recording: Path) -> None:
    of = stamp([recording])
    Journal(tmp_path / "j", ABOUT).add(DONE, of)
    (tmp_path / "j").write_bytes((tmp_path / "j").read_bytes() + b"\n")  # as former versions wrote it
    Journal(tmp_path / "j", ABOUT).add(Result("b", None, None, 1.0), of)
    assert Journal(tmp_path / "j", ABOUT).count == 2


def test_a_full_disk_is_told_of_the_file(tmp_path: Path, recording: Path) -> None:
    with pytest.raises(OSError, match="can't be written") as full, full_disk(most_bytes=10):
        Journal(tmp_path / "j", ABOUT).add(DONE, stamp([recording]))
    assert full.value.filename == str(tmp_path / "j")
