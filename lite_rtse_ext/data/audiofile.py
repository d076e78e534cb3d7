"""Reads prepared audio, 16 kHz mono: whole files or stretches of them, with a cache in memory."""

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
    """A reader of prepared files that keeps the first files it reads in memory, as 16-bit integers.

    Args:
        megabytes: memory to use in MB. With 0 every read is from the disk.
    """

    def __init__(self, megabytes: float = 0.0) -> None:
        self._room_bytes = megabytes * 1e6
        self._kept: dict[Path, NDArray[np.int16]] = {}

    def read(self, path: Path, frames: int, start: int = 0, length: int | None = None) -> NDArray[np.float32]:
        """Read samples from ``start`` up to, but without, ``start + length``.

        Args:
            path: the file.
            frames: the length in samples that the file must have.
            start: first sample to read.
            length: number of samples to read. By default all samples from ``start`` on are read.

        Returns:
            The samples, float32, ``(length,)``, with full scale at 1.

        Raises:
            OSError: the file does not exist or may not be read.
            AudioError: the file is damaged, or is not PCM in WAV or FLAC, 16 kHz, mono and of the expected length.
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
    with path.open("rb"):  # here the operating system gives the reason; libsndfile only says "System error"
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
    """Raise AudioError unless a file is 16 kHz, mono, ``frames`` long, and WAV or FLAC with PCM samples.

    Only integer samples are converted to 16 bits correctly. Only WAV and FLAC files seek to the exact sample.
    """
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
