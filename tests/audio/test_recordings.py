"""Folders as users have them: what is a recording, what is said of the rest, and where links lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lite_rtse_ext.audio.recordings import find_recordings

SUFFIXES = frozenset({".wav", ".flac"})


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("content")


def found(folder: Path, outputs: Path | None = None) -> list[str]:
    return [str(path.relative_to(folder)) for path in find_recordings(folder, SUFFIXES, outputs).files]


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("a.wav", None),
        ("LOUD.WAV", None),
        ("deep/er/a.flac", None),
        ("two.parts.wav", None),
        (" spaces and 声 .wav", None),
        ("\udce9.wav", None),
        ("phone.m4a", "as .m4a is not read"),
        ("PHONE.M4A", "as .m4a is not read"),
        ("deep/browser.webm", "as .webm is not read"),
        ("film.mp4", "as .mp4 is not read"),
        ("call.amr", "as .amr is not read"),
        ("notes.txt", "no sound"),
        ("cover.jpg", "no sound"),
        ("paper.pdf", "no sound"),
        ("README", "without a suffix that tells what is in it"),
        ("ends with a dot.", "without a suffix that tells what is in it"),
        ("Dr. Doe on the birds of the north", "without a suffix that tells what is in it"),
        ("._a.wav", "hidden"),
        (".hidden.wav", "hidden"),
        (".DS_Store", "hidden"),
    ],
)
def test_every_file_is_found_or_named(tmp_path: Path, name: str, remark: str | None) -> None:
    fill(tmp_path, name)
    recordings = find_recordings(tmp_path, SUFFIXES)
    assert [str(path.relative_to(tmp_path)) for path in recordings.files] == ([name] if remark is None else [])
    assert recordings.remarks() == ([] if remark is None else [f"1 left out, {remark}: {name}"])


def test_each_kind_is_a_line_however_many_there_are(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{number}.m4a" for number in range(8)), "b.txt", "a.csv", ".x", "call.amr", "a.wav")
    assert find_recordings(tmp_path, SUFFIXES).remarks() == [
        "1 left out, as .amr is not read: call.amr",
        "8 left out, as .m4a is not read: 0.m4a, 1.m4a, 2.m4a, 3.m4a, 4.m4a and 3 more",
        "1 left out, hidden: .x",
        "2 left out, no sound: a.csv, b.txt",
    ]


def test_hidden_folders_are_not_gone_into(tmp_path: Path) -> None:
    fill(tmp_path, ".trash/old.wav", "a.wav")
    recordings = find_recordings(tmp_path, SUFFIXES)
    assert recordings.files == [tmp_path / "a.wav"]
    assert recordings.remarks() == ["1 left out, hidden: .trash"]
    assert found(tmp_path / ".trash") == ["old.wav"]  # but may be asked for


def test_a_linked_folder_is_gone_into(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.wav", "elsewhere/b.wav", "elsewhere/deep/c.wav")
    (tmp_path / "in" / "linked").symlink_to("../elsewhere")
    recordings = find_recordings(tmp_path / "in", SUFFIXES)
    assert found(tmp_path / "in") == ["a.wav", "linked/b.wav", "linked/deep/c.wav"]
    assert recordings.remarks() == ["1 linked, gone into: linked"]


def test_a_folder_is_read_once_and_in_its_own_place(tmp_path: Path) -> None:
    fill(tmp_path, "in/z/a.wav", "elsewhere/b.wav")
    (tmp_path / "in" / "first").symlink_to("z")  # comes before it in order
    (tmp_path / "in" / "one").symlink_to("../elsewhere")
    (tmp_path / "in" / "two").symlink_to("../elsewhere")
    recordings = find_recordings(tmp_path / "in", SUFFIXES)
    assert found(tmp_path / "in") == ["one/b.wav", "z/a.wav"]
    assert recordings.remarks() == [
        "2 left out, a link to a folder that is read in another place: first, two",
        "1 linked, gone into: one",
    ]


@pytest.mark.parametrize("leads_to", [".", "..", "../in/deep", "../elsewhere"])
def test_links_in_a_circle_end(tmp_path: Path, leads_to: str) -> None:
    fill(tmp_path, "in/deep/a.wav", "elsewhere/b.wav")
    (tmp_path / "in" / "round").symlink_to(leads_to)
    (tmp_path / "elsewhere" / "back").symlink_to("../in")
    files = [os.path.realpath(path) for path in find_recordings(tmp_path / "in", SUFFIXES).files]
    assert len(files) == len(set(files))
    assert str(tmp_path / "in" / "deep" / "a.wav") in files


def test_what_links_lead_to_is_told(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.wav")
    (tmp_path / "in" / "same.wav").symlink_to("a.wav")
    (tmp_path / "in" / "lost.wav").symlink_to("nowhere.wav")
    (tmp_path / "in" / "self.wav").symlink_to("self.wav")
    os.mkfifo(tmp_path / "in" / "pipe.wav")
    (tmp_path / "in" / "folder.wav").mkdir()
    recordings = find_recordings(tmp_path / "in", SUFFIXES)
    assert found(tmp_path / "in") == ["a.wav", "same.wav"]
    assert recordings.remarks() == [
        "2 left out, a link that leads nowhere: lost.wav, self.wav",
        "1 left out, no regular file: pipe.wav",
    ]


def test_outputs_are_no_recordings_whatever_leads_to_them(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.wav", "in/out/a.wav", "in/out/deep/b.wav")
    outputs = tmp_path / "in" / "out"
    (tmp_path / "in" / "before").symlink_to("out")
    (tmp_path / "in" / "below").symlink_to("out/deep")
    (tmp_path / "in" / "old.wav").symlink_to("out/a.wav")
    assert found(tmp_path / "in", outputs) == ["a.wav"]
    assert found(outputs, tmp_path / "in") == ["a.wav", "deep/b.wav"]  # inputs in the folder of outputs
    (tmp_path / "aside").symlink_to("in/out")
    assert found(tmp_path / "in", tmp_path / "aside") == ["a.wav"]


def test_outputs_beside_the_folder_are_not_read_through_a_link_above_it(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.wav", "out/a.wav", "other/b.wav")
    (tmp_path / "in" / "up").symlink_to("..")
    assert found(tmp_path / "in", tmp_path / "out") == ["a.wav", "up/other/b.wav"]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.wav", "locked/b.wav")
    scan = os.scandir

    def refuse(path: str) -> object:  # whoever is root may read everything
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    recordings = find_recordings(tmp_path, SUFFIXES)
    assert recordings.files == [tmp_path / "a.wav"]
    assert [error.filename for error in recordings.errors] == [str(tmp_path / "locked")]


def test_what_holds_no_sound_is_left_out(tmp_path: Path) -> None:
    for name in ("talk.wav", "film.mp4"):
        (tmp_path / name).write_bytes(b"")
    found = find_recordings(tmp_path, {".wav", ".mp4"})
    found.leave_out(lambda path: "left out, no sound" if path.suffix == ".mp4" else None)
    assert found.files == [tmp_path / "talk.wav"]
    assert found.remarks() == ["1 left out, no sound: film.mp4"]
