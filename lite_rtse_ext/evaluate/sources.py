"""Sources of evaluation recordings: mixtures and pairs with a clean reference, or recordings without one."""

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
        name: its name, unique in the source.
        label: kind of noise, if known.
        snr_db: SNR in dB, if known.
        files: paths of the files that it consists of, for messages.
    """

    name: str
    label: str | None = None
    snr_db: float | None = None
    files: tuple[str, ...] = ()


class Source(Protocol):
    """Interface of a set of recordings."""

    @property
    def entries(self) -> Sequence[Entry]:
        """All recordings, in order."""

    def load(self, index: int) -> tuple[_Samples, _Samples | None]:
        """Load a recording.

        Returns:
            The noisy and the clean waveform, both ``(samples,)``, float32, 16 kHz. The clean one is None if there is
            none.

        Raises:
            OSError, ValueError: a file is missing or damaged. The message names it.
        """


MakeSource = Callable[[], Source]
"""Constructs a source. It is called once in each process, so it must pickle: a partial of a class does, for example."""


class ManifestSource:
    """The mixtures and pairs of one split of a manifest.

    Args:
        manifest: path of the manifest.
        split: name of the split.

    Raises:
        OSError, ManifestError: the manifest is missing or faulty.
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
    """The audio files of a folder and its subfolders, or one file. Channels are averaged.

    Args:
        folder: path of the folder or of the file.
        outputs: output folder. If it lies within ``folder``, its files are not read as recordings.

    Attributes:
        remarks: lines about the other contents of the folder.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the folder contains no audio file, or ``outputs`` is the folder itself.
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
    """Return the path as valid UTF-8 text. Other bytes are written as escape sequences."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
