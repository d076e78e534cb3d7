"""File names from names that may hold anything."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest

from lite_rtse_ext.data.rules import file, name
from lite_rtse_ext.utils.file_names import MOST_BYTES, file_name, target_path, unique_paths

AWKWARD = [
    "x" * 250, "x" * 300, "語" * 84, "é" * 127, "é" * 200, "\U0001f600" * 63,
    "a\\b", "a\nb", "\x7f", "nul\0byte", "line\nbreak", os.fsdecode(b"caf\xe9"), "\udce9",
    "../../escaped", "/absolute", "a/../../b", "..", ".", "", "/", "sub/../../../x", "C:\\x", "a\\..\\..\\b",
    "...", ".hidden", "*?\"<>|",
]  # fmt: skip
LOOSE = ["~/x", "a//b", "a/./b", "trailing "]


@pytest.mark.parametrize("text", AWKWARD, ids=ascii)
@pytest.mark.parametrize("suffix", [".wav", ".train.flac", ".valid.0001.flac"])
def test_awkward_names_become_names_that_every_manifest_and_disk_takes(tmp_path: Path, text: str, suffix: str) -> None:
    made = file_name(text, suffix)
    assert name.holds(made)
    assert made.endswith(suffix)
    assert not made.startswith(".")
    assert not set(made) & set('<>:"|?*')
    assert len(os.fsencode(made)) <= MOST_BYTES
    (tmp_path / made).touch()
    assert made != file_name(text + "2", suffix)
    assert file.holds(target_path(PurePath(text.replace("\0", ""), text), suffix).as_posix())


@pytest.mark.parametrize("text", AWKWARD + LOOSE, ids=ascii)
def test_no_name_leaves_its_folder(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    target = folder / unique_paths([text], ".wav")[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"sound")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 1
    assert written[0].resolve().is_relative_to(folder)
    assert written[0].suffix == ".wav"
    assert not any(part.startswith(".") for part in written[0].relative_to(folder).parts)


def test_no_two_names_share_a_file() -> None:
    names = [*AWKWARD, *LOOSE, "test-0", "TEST-0", "a.wav", "a.flac", "a", "a/b", "sub/a.flac", "sub/A", "sub/a"]
    found = unique_paths(names, ".wav", [".wav", ".flac"])
    assert len({str(path).casefold() for path in found}) == len(found) == len(names)
    assert all(file.holds(path.as_posix()) for path in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("test-0", "test-0.wav"), ("sub/a.flac", "sub/a.wav"), ("a.b", "a.b.wav"), ("Käse 1.WAV", "Käse 1.wav")],
)
def test_an_ordinary_name_is_kept(text: str, expected: str) -> None:
    assert unique_paths([text], ".wav", [".wav", ".flac"]) == [PurePath(expected)]


def test_plain_names_stay() -> None:
    assert target_path(PurePath("Anna B/café 1.wav"), ".train.flac") == PurePath("Anna B/café 1.wav.train.flac")
