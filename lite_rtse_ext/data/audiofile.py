"""Reading prepared audio: whole files or stretches of them, 16 kHz mono, with a cache in memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["AudioCache"]

_FULL_SCALE = np.float32(1 / 32768)
_CONTAINERS = frozenset({"WAV", "WAVEX", "FLAC"})
_SUBTYPES = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32"})


class AudioCache:
    """Samples of files, of which those read first are kept in memory as 16-bit numbers.

    Args:
        megabytes: memory to use; 0 reads from the disk every time.
    """

    def __init__(self, megabytes: float = 0.0) -> None:
        self._room_bytes = megabytes * 1e6
        self._kept: dict[Path, NDArray[np.int16]] = {}

    def read(self, path: Path, frames: int, start: int = 0, length: int | None = None) -> NDArray[np.float32]:
        """Samples ``start ... start + length`` (to the end by default) of a file, ``(length,)``, full scale 1.

        Args:
            path: of the file.
            frames: the length that the file must have.
            start: first sample wanted.
            length: number of samples wanted.

        Raises:
            OSError: there is no such file, or it may not be read.
            AudioError: not PCM in WAV or FLAC, 16 kHz, mono, of that length, or damaged.
        """
        length = frames - start if length is None else length
        kept = self._kept.get(path)
        if kept is None and 2 * frames <= self._room_bytes:
            kept = self._kept[path] = _read(path, frames, 0, frames)
            self._room_bytes -= kept.nbytes
        samples = _read(path, frames, start, length) if kept is None else kept[start : start + length]
        scaled: NDArray[np.float32] = np.multiply(samples, _FULL_SCALE, dtype=np.float32)
        return scaled


def _read(path: Path, frames: int, start: int, length: int) -> NDArray[np.int16]:
    with path.open("rb"):  # libsndfile says "System error" where the operating system says why
        pass
    try:
        with sf.SoundFile(os.fsencode(path)) as file:
            _check(path, file, frames)
            file.seek(start)
            samples: NDArray[np.int16] = file.read(length, dtype="int16")
    except sf.LibsndfileError as error:
        raise AudioError(f"{path}: damaged, or not audio ({error.error_string})") from error
    if len(samples) != length:
        raise AudioError(f"{path}: damaged, {len(samples)} of {length} samples from sample {start} could be read")
    return samples


def _check(path: Path, file: sf.SoundFile, frames: int) -> None:
    """Only whole numbers are read as 16 bits rightly, and only WAV and FLAC begin at the very sample asked for."""
    if file.format not in _CONTAINERS or file.subtype not in _SUBTYPES:
        raise AudioError(
            f"{path}: expected WAV or FLAC with PCM samples, got {file.format} with {file.subtype}; "
            "`lite-rtse prepare` converts recordings of any kind"
        )
    found = (file.samplerate, file.channels, file.frames)
    if found != (SAMPLE_RATE_HZ, 1, frames):
        raise AudioError(
            f"{path}: must be {SAMPLE_RATE_HZ} Hz, mono, {frames} samples, "
            f"but is {found[0]} Hz, {found[1]} channel(s), {found[2]} samples"
        )
