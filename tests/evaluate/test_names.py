"""File names out of names that may hold anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from lite_rtse_ext.evaluate.names import wav_names

NAMES = [
    "../../escaped", "/absolute", "a/../../b", "..", ".", "", "/", "sub/../../../x", "~/x", "C:\\x", "a\\..\\..\\b",
    "nul\0byte", "...", "\udce9",
    "line\nbreak", "é" * 200, "x" * 300, ".hidden", "a//b", "a/./b", "trailing ", "*?\"<>|",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_no_name_leaves_its_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    target = folder / wav_names([name])[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"sound")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 1
    assert written[0].resolve().is_relative_to(folder)
    assert written[0].suffix == ".wav"
    assert not written[0].name.startswith(".")


def test_no_two_names_share_a_file() -> None:
    found = wav_names([*NAMES, "test-0", "TEST-0", "a.wav", "a.flac", "a", "sub/a.flac"])
    assert len({name.casefold() for name in found}) == len(found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("test-0", "test-0.wav"), ("sub/a.flac", "sub/a.wav"), ("a.b", "a.b.wav"), ("Käse 1.WAV", "Käse 1.wav")],
)
def test_an_ordinary_name_is_kept(name: str, expected: str) -> None:
    assert wav_names([name]) == [expected]
