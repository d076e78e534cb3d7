"""The recordings in a folder that is to be prepared: every file is either taken or named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lite_rtse_ext.audio.io import READ_SUFFIXES
from lite_rtse_ext.audio.recordings import find_recordings
from lite_rtse_ext.data.manifest import ManifestError

__all__ = ["find_audio"]

_SUFFIXES = READ_SUFFIXES | {".g722"}


def find_audio(folder: Path, target: Path, report: Callable[[str], None]) -> list[Path]:
    """The audio files in a folder, as :func:`~lite_rtse_ext.audio.recordings.find_recordings` finds them.

    Args:
        folder: where to look.
        target: the folder to be filled; what lies in it is not looked at.
        report: is called with a line about each kind of file that is left out.

    Raises:
        OSError: a folder can't be read.
        ManifestError: there is no such folder, or no audio in it.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder")
    found = find_recordings(folder, _SUFFIXES, target)
    for error in found.errors:
        raise error
    for remark in found.remarks():
        report(f"{folder}: {remark}")
    if not found.files:
        raise ManifestError(f"{folder}: no audio files (looked for {' '.join(sorted(_SUFFIXES))})")
    return found.files
