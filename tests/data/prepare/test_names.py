"""Names of prepared files."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest

from lite_rtse_ext.data.prepare.names import MOST_BYTES, file_name, target_path
from lite_rtse_ext.data.rules import file, name

AWKWARD = [
    "x" * 250,
    "語" * 84,
    "é" * 127,
    "a\\b",
    "a\nb",
    "\x7f",
    os.fsdecode(b"caf\xe9"),
    "\U0001f600" * 63,
]


@pytest.mark.parametrize("text", AWKWARD)
@pytest.mark.parametrize("suffix", [".flac", ".train.flac", ".valid.0001.flac"])
def test_awkward_names_become_names_that_every_manifest_and_disk_takes(tmp_path: Path, text: str, suffix: str) -> None:
    made = file_name(text, suffix)
    assert name.holds(made)
    assert made.endswith(suffix)
    assert len(os.fsencode(made)) <= MOST_BYTES
    (tmp_path / made).touch()
    assert made != file_name(text + "2", suffix)
    assert file.holds(target_path(PurePath(text, text), suffix).as_posix())


def test_plain_names_stay() -> None:
    assert target_path(PurePath("Anna B/café 1.wav"), ".train.flac") == PurePath("Anna B/café 1.wav.train.flac")
