"""Audio files in and out, block by block, through libsndfile: wav, flac, ogg, opus, mp3, aiff, caf, au and their kin.

Nothing here holds a whole file in memory unless asked to (:func:`read`). A file that is being written has a temporary
name in its own folder and takes its real name only when it is complete, so what bears the real name is never half a
file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.files import replacing

BLOCK_FRAMES = 65_536

CONTAINERS = {
    ".wav": "WAV",
    ".w64": "W64",
    ".rf64": "RF64",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".caf": "CAF",
    ".au": "AU",
}
"""The containers that are read and written, by file name suffix."""

READ_SUFFIXES = frozenset(CONTAINERS)

_MOST_BYTES = {"WAV": 2**32 - 2**20, "WAVEX": 2**32 - 2**20, "AIFF": 2**32 - 2**20}
"""Containers whose headers count bytes in 32 bits; a MiB is left for what is not samples."""

SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}
SAMPLE_BYTES |= {"FLOAT": 4, "DOUBLE": 8}
"""Bytes a sample, of the types that have a size."""

_WITH_TAGS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF", "CAF"})


class AudioError(ValueError):
    """A file that is not audio, holds no samples or unusable ones, or can't be written in its format."""


@dataclass(frozen=True)
class AudioFormat:
    """Everything about a file but its samples.

    ``container``, ``subtype`` and ``endian`` are libsndfile's names, e.g. WAV, PCM_24, FILE; ``tags`` are title,
    artist and so on; ``frames`` is the header's count, which for an mp3 without a proper header is an estimate.
    """

    sample_rate: int
    channels: int
    container: str
    subtype: str
    endian: str = "FILE"
    frames: int = 0
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length in seconds, from the header."""
        return self.frames / self.sample_rate

    def renamed(self, path: Path, source: Path) -> AudioFormat:
        """The format of a copy of ``source``, which has this format, that is to be called ``path``.

        The same suffix keeps the format as it is. Another suffix changes the container; the sample type is kept where
        the new container has it, else 24 bits for anything finer than 24 bits, else the container's usual one.
        """
        suffix = path.suffix.lower()
        if suffix == source.suffix.lower():
            return self
        container = CONTAINERS.get(suffix)
        if container is None:
            raise AudioError(f"{path}: unknown kind of audio file, use one of {' '.join(CONTAINERS)}")
        candidates = [self.subtype, sf.default_subtype(container)]
        if suffix == ".opus":
            candidates.insert(0, "OPUS")
        if self.subtype in ("PCM_32", "FLOAT", "DOUBLE"):
            candidates.insert(1, "PCM_24")
        subtype = next(name for name in candidates if sf.check_format(container, name))
        return AudioFormat(self.sample_rate, self.channels, container, subtype, "FILE", self.frames, self.tags)

    def check_size(self, path: Path, frames: int) -> None:
        """Whether a file of this format can be so long: WAV and AIFF end at 4 GiB.

        Raises:
            AudioError: it can't, and what can.
        """
        size = frames * self.channels * SAMPLE_BYTES.get(self.subtype, 0)
        if size > _MOST_BYTES.get(self.container, size):
            raise AudioError(
                f"{path}: {size / 2**30:.1f} GiB of samples are more than {self.container} can hold (4 GiB): "
                "name it .w64, .rf64, .caf or .flac"
            )


def read_format(path: str | os.PathLike[str]) -> AudioFormat:
    """Format of an audio file.

    Raises:
        OSError: there is no such file, or it may not be read.
        AudioError: the file is empty, not audio, or holds no samples.
    """
    with _open(Path(path)) as file:
        return _format_of(file)


def read_blocks(path: str | os.PathLike[str], block_frames: int = BLOCK_FRAMES) -> Iterator[NDArray[np.float32]]:
    """Samples of an audio file in blocks ``(frames, channels)``, float32, full scale 1.

    Raises:
        OSError: there is no such file, or it may not be read.
        AudioError: the file is empty, not audio, damaged, or has a sample that is NaN or infinite.
    """
    path = Path(path)
    with _open(path) as file:
        expected = _format_of(file)
        done = 0
        while True:
            try:
                block: NDArray[np.float32] = file.read(block_frames, dtype="float32", always_2d=True)
            except sf.LibsndfileError as error:
                raise AudioError(f"{path}: damaged after {done / file.samplerate:.2f} s ({error})") from error
            if not len(block):
                break
            _refuse_non_finite(path, block, done)
            done += len(block)
            yield block
    if done < expected.frames and expected.container != "MP3":  # an mp3's count may be an estimate
        raise AudioError(f"{path}: damaged, {done} of {expected.frames} samples a channel could be read")


def read(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], AudioFormat]:
    """All samples of an audio file, ``(frames, channels)`` float32, and its format; raises as :func:`read_blocks`."""
    return np.concatenate(list(read_blocks(path))), read_format(path)


@contextmanager
def writer(path: str | os.PathLike[str], audio_format: AudioFormat) -> Iterator[sf.SoundFile]:
    """An open file to ``write`` blocks ``(frames, channels)`` to; it replaces ``path`` once the block ends well.

    Integer formats clip at full scale, mp3 60 dB above it. Blocks of at most :data:`BLOCK_FRAMES` are safe;
    libsndfile's Vorbis encoder overflows its stack on very long ones.

    Raises:
        OSError: the folder does not exist or can't be written to, or ``path`` is a folder.
        AudioError: the format can't hold this rate, number of channels or sample type.
    """
    path = Path(path)
    with replacing(path) as temporary:
        try:
            with _create(temporary, audio_format) as file:
                yield file
        except sf.LibsndfileError as error:
            kind = f"{audio_format.container}/{audio_format.subtype}"
            what = f"{audio_format.sample_rate} Hz, {audio_format.channels} channel(s) as {kind}"
            raise AudioError(f"{path}: can't write {what} ({error.error_string})") from error


def write(
    path: str | os.PathLike[str],
    samples: NDArray[np.float32] | Iterable[NDArray[np.float32]],
    audio_format: AudioFormat,
) -> None:
    """Write samples ``(frames, channels)``, an array or blocks of one. Raises what :func:`writer` does."""
    if isinstance(samples, np.ndarray):
        samples = split(samples)
    with writer(path, audio_format) as file:
        for block in samples:
            file.write(block)


def split(samples: NDArray[np.float32], block_frames: int = BLOCK_FRAMES) -> Iterator[NDArray[np.float32]]:
    """An array ``(frames, ...)`` in blocks."""
    return (samples[start : start + block_frames] for start in range(0, len(samples), block_frames))


class _Mp3File(sf.SoundFile):  # type: ignore[misc]
    """LAME ends the whole process over samples very far above full scale, so they are clipped 60 dB above it."""

    def write(self, data: NDArray[np.float32]) -> None:
        super().write(data.clip(-1000, 1000))


def _open(path: Path) -> sf.SoundFile:
    with path.open("rb") as file:  # libsndfile says "System error" where the operating system says why
        if not file.read(1):
            raise AudioError(f"{path}: the file is empty")
    try:
        return sf.SoundFile(path)
    except (sf.LibsndfileError, TypeError) as error:  # TypeError: the suffix .raw wants a format in words
        raise AudioError(f"{path}: not an audio file that can be read here") from error


def _format_of(file: sf.SoundFile) -> AudioFormat:
    if file.frames == 0:
        raise AudioError(f"{file.name}: the file holds no samples")
    tags = {name: value for name, value in file.copy_metadata().items() if value}
    return AudioFormat(file.samplerate, file.channels, file.format, file.subtype, file.endian, file.frames, tags)


def _create(path: Path, audio_format: AudioFormat) -> sf.SoundFile:
    # LAME's variable bit rate, libsndfile's default, writes frames at low sample rates that decoders stumble over. The
    # constant rate at this level is 224 kbit/s at 44.1 and 48 kHz, 112 kbit/s at 16 kHz.
    mp3 = {"bitrate_mode": "CONSTANT", "compression_level": 0.3} if audio_format.container == "MP3" else {}
    kind = _Mp3File if mp3 else sf.SoundFile
    file = kind(
        path,
        "w",
        samplerate=audio_format.sample_rate,
        channels=audio_format.channels,
        format=audio_format.container,
        subtype=audio_format.subtype,
        endian=audio_format.endian,
        **mp3,
    )
    if audio_format.container in _WITH_TAGS:
        for name, value in audio_format.tags.items():
            setattr(file, name, value)
    return file


def _refuse_non_finite(path: Path, block: NDArray[np.float32], frames_before: int) -> None:
    finite = np.isfinite(block)
    if not finite.all():
        frame, channel = np.argwhere(~finite)[0]
        raise AudioError(f"{path}: sample {frames_before + frame} of channel {channel} is {block[frame, channel]}")
