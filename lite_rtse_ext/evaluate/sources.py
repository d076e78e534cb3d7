"""What a network is judged on: fixed mixtures and pairs, which have a clean side, or recordings, which have none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import READ_SUFFIXES
from lite_rtse_ext.audio.recordings import find_recordings
from lite_rtse_ext.data.dataset import FixedExamples
from lite_rtse_ext.data.manifest import Manifest, Mixture, Pair
from lite_rtse_ext.data.prepare.convert import decode

__all__ = ["Entry", "MakeSource", "ManifestSource", "RecordingSource", "Source"]

_Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Entry:
    """One recording.

    Args:
        name: unique in its source.
        label: its kind of noise, if known.
        snr_db: if known.
        files: what it is made of, to name in messages.
    """

    name: str
    label: str | None = None
    snr_db: float | None = None
    files: tuple[str, ...] = ()


class Source(Protocol):
    """Recordings to judge on."""

    @property
    def entries(self) -> Sequence[Entry]:
        """All of them, in order."""

    def load(self, index: int) -> tuple[_Samples, _Samples | None]:
        """The noisy waveform of one, ``(samples,)`` at 16 kHz, and its clean one, if it has one.

        Raises:
            OSError, ValueError: a file is missing or damaged; the message names it.
        """


MakeSource = Callable[[], Source]
"""Makes a source, in each process anew. It must pickle: a partial of a class, say."""


class ManifestSource:
    """The mixtures and pairs of a split.

    Raises:
        OSError, ManifestError: what is wrong with the manifest.
    """

    def __init__(self, manifest: Path, split: str) -> None:
        loaded = Manifest.load(manifest)
        self._examples = FixedExamples(loaded, split)
        self.entries = [
            Entry(each.name, each.label, each.snr_db, tuple(str(loaded.path(path)) for path in _paths(each)))
            for each in self._examples.entries
        ]

    def load(self, index: int) -> tuple[_Samples, _Samples | None]:
        noisy, clean = self._examples[index]
        return noisy.numpy(), clean.numpy()


class RecordingSource:
    """The audio files of a folder, sub-folders included, or one file; channels are averaged.

    Args:
        folder: the folder, or the file.
        outputs: a folder whose files are no recordings, though it lies in the other one.

    Attributes:
        remarks: what else lies there, a line each.

    Raises:
        FileNotFoundError: there is nothing of that name.
        ValueError: the folder holds no audio file.
    """

    def __init__(self, folder: Path, outputs: Path | None = None) -> None:
        if not folder.exists():
            raise FileNotFoundError(errno.ENOENT, "no such file or folder", str(folder))
        self._paths: list[Path] = [folder]
        self.remarks: list[str] = []
        if not folder.is_file():
            if outputs is not None and outputs.resolve() == folder.resolve():
                raise ValueError(f"{outputs}: is the folder of recordings itself, in which nothing is written")
            found = find_recordings(folder, READ_SUFFIXES, outputs)
            self._paths, self.remarks = found.files, found.remarks()
        if not self._paths:
            raise ValueError(f"{folder}: no audio files in this folder" + "".join(f"; {line}" for line in self.remarks))
        root = folder.parent if folder.is_file() else folder
        self.entries = [Entry(_printable(path.relative_to(root)), files=(str(path),)) for path in self._paths]

    def load(self, index: int) -> tuple[_Samples, None]:
        return decode(self._paths[index]), None


def _paths(entry: Mixture | Pair) -> tuple[str, str]:
    return (entry.speech, entry.noise) if isinstance(entry, Mixture) else (entry.noisy, entry.clean)


def _printable(path: Path) -> str:
    """A name that any file can hold: bytes that are no UTF-8 are spelled out."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
