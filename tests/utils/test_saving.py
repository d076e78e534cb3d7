"""Every function that saves a file: it replaces regular files only, keeps their mode, and takes names of any length."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.audio import AudioFormat, write
from lite_rtse_ext.data.manifest import Clip, Manifest

from .special import SPECIAL


def _checkpoint(path: Path) -> None:
    LiteRTSE(bins=5, channels=2, order=2).save_checkpoint(path)


def _sound(path: Path) -> None:
    write(path, np.zeros((10, 1), np.float32), AudioFormat(16_000, 1, "WAV", "PCM_16"))


def _manifest(path: Path) -> None:
    Manifest(path.parent, "mine", (Clip("speech", "train", "a.flac", 16_000, "me", "none", "here"),)).save(path)


SAVERS = {"checkpoint": _checkpoint, "sound": _sound, "manifest": _manifest}


@pytest.fixture(params=SAVERS)
def save(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    return SAVERS[request.param]


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_stays(tmp_path: Path, save: Callable[[Path], None], kind: str) -> None:
    path = tmp_path / "target"
    SPECIAL[kind](path)
    before = path.lstat()
    with pytest.raises(OSError, match=f"expected a regular file or a new name, got {kind}") as refused:
        save(path)
    assert refused.value.filename == str(path)
    assert os.path.samestat(before, path.lstat())
    assert os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize("length", [1, 241, 255])
def test_names_of_every_length_and_their_modes(tmp_path: Path, save: Callable[[Path], None], length: int) -> None:
    path = tmp_path / ("a" * length)
    save(path)
    path.chmod(0o600)
    save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [path.name]
