"""Finds the recordings in a folder to prepare. Every file is either used or reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from lite_rtse_ext.audio.io import READ_SUFFIXES
from lite_rtse_ext.audio.recordings import find_recordings
from lite_rtse_ext.data.manifest import ManifestError

__all__ = ["find_audio"]

_SUFFIXES = READ_SUFFIXES | {".g722"}


def find_audio(folder: Path, target: Path, filled: Iterable[str], report: Callable[[str], None]) -> list[Path]:
    """Find the audio files in a folder with :func:`~lite_rtse_ext.audio.recordings.find_recordings`.

    Args:
        folder: the folder to search.
        target: the folder to fill. Files in it are ignored.
        filled: the sub-folders of ``target`` that are filled.
        report: function that is called with one line about each kind of file that is left out.

    Raises:
        OSError: a folder can't be read.
        ManifestError: the folder does not exist, or holds no audio. Or it would be filled: its files could be replaced,
            and the next run would find what this one wrote.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder")
    real = folder.resolve()
    if real == target.resolve() or any(real.is_relative_to((target / name).resolve()) for name in filled):
        raise ManifestError(f"{folder}: expected a folder that is not filled, got one that --out {target} would fill")
    found = find_recordings(folder, _SUFFIXES, target)
    for error in found.errors:
        raise error
    for remark in found.remarks():
        report(f"{folder}: {remark}")
    if not found.files:
        raise ManifestError(f"{folder}: no audio files (looked for {' '.join(sorted(_SUFFIXES))})")
    return found.files
