"""Every function that saves a file: it replaces regular files only, keeps their mode, and takes names of any length."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.audio import AudioFormat, write
from lite_rtse_ext.data.manifest import Clip, Manifest
from lite_rtse_ext.train.callbacks import AtomicCheckpoints

from .full_disk import full_disk
from .special import SPECIAL


def _checkpoint(path: Path) -> None:
    LiteRTSE(bins=5, channels=2, order=2).save_checkpoint(path)


def _sound(path: Path) -> None:
    write(path, np.zeros((10, 1), np.float32), AudioFormat(16_000, 1, "WAV", "PCM_16"))


def _manifest(path: Path) -> None:
    Manifest(path.parent, "mine", (Clip("speech", "train", "a.flac", 16_000, "me", "none", "here"),)).save(path)


def _training(path: Path) -> None:
    AtomicCheckpoints().save_checkpoint({"weight": torch.zeros(1000)}, path)


SAVERS = {"checkpoint": _checkpoint, "sound": _sound, "manifest": _manifest, "training": _training}


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


def test_a_full_disk_is_told_of_the_file(tmp_path: Path, save: Callable[[Path], None]) -> None:
    path = tmp_path / "target"
    with pytest.raises(OSError, match="can't be written") as full, full_disk(most_bytes=10):
        save(path)
    assert (full.value.errno, full.value.filename) == (errno.EFBIG, str(path))
    assert os.listdir(tmp_path) == []
