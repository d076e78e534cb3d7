"""Audio files in and out, block by block: wav, flac, ogg, opus, mp3, aiff, caf, au and their kin.

libsndfile reads and writes them. What it doesn't read, PyAV does where it is installed.

Nothing here holds a whole file in memory unless asked to (:func:`read`). A file that is being written has a temporary
name in its own folder and takes its real name only when it is complete, so what bears the real name is never half a
file.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.formats import (
    CONTAINERS,
    READ_SUFFIXES,
    AudioError,
    AudioFormat,
    AudioWarning,
    say,
)
from lite_rtse_ext.audio.media import NEEDS_AV, MediaReader, has_av
from lite_rtse_ext.audio.pipe import SPARE_BYTES, open_pipe
from lite_rtse_ext.audio.reader import BLOCK_FRAMES, Reader, checked_blocks, split
from lite_rtse_ext.audio.wav import WavHeader, header_of, set_channel_mask
from lite_rtse_ext.files import replacing

__all__ = [
    "BLOCK_FRAMES",
    "CONTAINERS",
    "READ_SUFFIXES",
    "AudioError",
    "AudioFormat",
    "AudioWarning",
    "Reader",
    "is_regular",
    "open_audio",
    "read",
    "read_blocks",
    "read_format",
    "split",
    "write",
    "writer",
]

_WITH_TAGS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF", "CAF"})
_MAY_END_EARLY = frozenset({"WAV", "WAVEX", "RF64", "MP3"})
_NO_LENGTH = 2**62
"""Counts from here on are libsndfile's way to say that the header states none."""


def is_regular(path: Path) -> bool:
    """Whether this is a file that can be read as often as one likes: no named pipe, no device.

    Raises:
        OSError: there is no such file.
    """
    return stat.S_ISREG(path.stat().st_mode)


@contextmanager
def open_audio(path: str | os.PathLike[str]) -> Iterator[Reader]:
    """What reads the sound of a file. A named pipe or a device is opened once, and read as a pipe is.

    Raises:
        OSError: there is no such file, or it may not be read.
        AudioError: the file is empty, not audio, or holds no samples.
    """
    path = Path(path)
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))  # libsndfile says "System error" where the system says why
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield _reader(path, file, stack)
        elif file.isatty():
            raise AudioError(f"{path}: expected sound, got a terminal")
        else:
            yield open_pipe(file, None, str(path), stack)


def read_format(path: str | os.PathLike[str]) -> AudioFormat:
    """Format of an audio file.

    Raises:
        OSError: there is no such file, or it may not be read.
        AudioError: the file is empty, not audio, or holds no samples; or it is a pipe, of which nothing would be left.
    """
    if not is_regular(Path(path)) and not Path(path).is_dir():
        raise AudioError(f"{path}: expected a regular file, got a pipe or device, whose samples can be had once only")
    with open_audio(path) as reader:
        return reader.format


def read_blocks(path: str | os.PathLike[str], block_frames: int = BLOCK_FRAMES) -> Iterator[NDArray[np.float32]]:
    """Samples of an audio file in blocks ``(frames, channels)``, float32, full scale 1.

    Raises:
        OSError: there is no such file, or it may not be read.
        AudioError: the file is empty, not audio, damaged, or has a sample that is NaN or infinite.
    """
    with open_audio(path) as reader:
        yield from reader.blocks(block_frames)


def read(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], AudioFormat]:
    """All samples of an audio file, ``(frames, channels)`` float32, and its format; raises as :func:`read_blocks`.

    The format's length is that of the samples.
    """
    with open_audio(path) as reader:
        samples = np.concatenate(list(reader.blocks()))
        return samples, replace(reader.format, frames=len(samples), exact=True)


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
        kind = f"{audio_format.container}/{audio_format.subtype}"
        what = f"{path}: can't write {audio_format.sample_rate} Hz, {audio_format.channels} channel(s) as {kind}"
        if not sf.check_format(audio_format.container, audio_format.subtype, audio_format.endian):
            raise AudioError(f"{what} (libsndfile has no such format, endian {audio_format.endian})")
        try:
            with _create(temporary, audio_format) as file:
                yield file
        except sf.LibsndfileError as error:
            raise AudioError(f"{what} ({error.error_string})") from error
        if audio_format.container == "WAVEX" and audio_format.channel_mask is not None:
            set_channel_mask(temporary, audio_format.channel_mask)


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


class _Forward(sf.SoundFile):  # type: ignore[misc]
    """A file that is only read on. soundfile otherwise seeks after each block, which fails near a length unknown."""

    def seekable(self) -> bool:
        return False


class _Endless(io.FileIO):
    """A file whose end is told far behind the true one.

    Of an mp3 that does not state its length, libmpg123 estimates it by the size of the file, and ends there, however
    much more there is. With this estimate it reads to the true end.
    """

    _END = 1 << 40
    _ID3_BYTES = 128  # libmpg123 looks for a tag of this size before the end

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            return super().seek(self._END + offset)
        return super().seek(offset, whence)

    def readinto(self, buffer: memoryview, /) -> int | None:  # type: ignore[override]
        if self.tell() < self._END - self._ID3_BYTES:
            return super().readinto(buffer)
        buffer[:] = bytes(len(buffer))
        return len(buffer)


class _FileReader:
    """Samples that libsndfile reads.

    Args:
        path: for messages.
        file: the opened file.
        audio_format: what it is.
        stated: frames that the header states, of which there may be fewer.
    """

    def __init__(self, path: Path, file: sf.SoundFile, audio_format: AudioFormat, stated: int | None) -> None:
        self.name, self.format = str(path), audio_format
        self._file, self._stated = file, stated

    def blocks(self, block_frames: int = BLOCK_FRAMES, /) -> Iterator[NDArray[np.float32]]:
        """See :class:`Reader`."""
        return checked_blocks(self.name, self._blocks(block_frames), block_frames)

    def drain(self) -> None:
        """Nothing needs to be taken from a file."""

    def _blocks(self, block_frames: int) -> Iterator[NDArray[np.float32]]:
        done, most = 0, self.format.exact_frames  # what lies behind the samples may be no sound
        while size := block_frames if most is None else min(block_frames, most - done):
            try:
                block: NDArray[np.float32] = self._file.read(size, dtype="float32", always_2d=True)
            except sf.LibsndfileError as error:
                seconds = done / self.format.sample_rate
                raise AudioError(f"{self.name}: damaged after {seconds:.2f} s ({error})") from error
            if not len(block):
                break
            done += len(block)
            yield block
        if done < (self._stated or 0) and done:
            self._ends_early(done)

    def _ends_early(self, done: int) -> None:
        """Some kinds of files are played to where they end, others are damaged then."""
        if self.format.container not in _MAY_END_EARLY:
            raise AudioError(f"{self.name}: damaged, {done} of {self._stated} samples a channel could be read")
        there, stated = (f"{frames / self.format.sample_rate:.2f} s" for frames in (done, self._stated or 0))
        say(f"{self.name}: is cut off, its header states {stated} of sound, there are {there}")


def _reader(path: Path, file: io.BufferedReader, stack: ExitStack) -> Reader:
    """What reads a regular file: libsndfile, or else what knows better."""
    if not file.read(1):
        raise AudioError(f"{path}: the file is empty")
    file.seek(0)
    header = header_of(file, str(path))
    behind = os.fstat(file.fileno()).st_size - file.tell()  # bytes of samples, in a WAV
    if header is None or not header.repaired:
        reader = _by_libsndfile(path, header, behind, stack)
        if reader is not None:
            return reader
    file.seek(0)
    if header is not None:
        if not behind:
            raise AudioError(f"{path}: the file holds no samples")
        return open_pipe(file, None, str(path), stack)
    if not has_av():
        raise AudioError(f"{path}: not an audio file that can be read here; {NEEDS_AV}")
    return stack.enter_context(MediaReader(file, str(path)))


def _by_libsndfile(path: Path, header: WavHeader | None, behind: int, stack: ExitStack) -> Reader | None:
    """What reads a file through libsndfile; None where that finds no sound in it."""
    try:
        file = stack.enter_context(_Forward(os.fsencode(path)))
    except (sf.LibsndfileError, TypeError):  # TypeError: the suffix .raw wants a format in words
        return None
    if not file.frames:
        return None
    found = _format_of(file, header).checked(str(path))
    stated = found.frames
    if file.subtype.startswith("MPEG"):
        with suppress(sf.LibsndfileError):
            endless = stack.enter_context(_Forward(stack.enter_context(_Endless(os.fsencode(path)))))
            if endless.frames != file.frames:  # an estimate
                file, stated = endless, None
        found = replace(found, exact=False)
    elif header is not None and header.data_bytes is not None and header.data_bytes > behind + SPARE_BYTES:
        stated = header.format.frames
    return _FileReader(path, file, found, stated)


def _format_of(file: sf.SoundFile, header: WavHeader | None) -> AudioFormat:
    tags = {name: value for name, value in file.copy_metadata().items() if value}
    frames = file.frames if file.frames < _NO_LENGTH else None
    found = AudioFormat(file.samplerate, file.channels, file.format, file.subtype, file.endian, frames, tags)
    mask = header.format.channel_mask if header is not None and file.format == "WAVEX" else None
    return replace(found, channel_mask=mask)


def _create(path: Path, audio_format: AudioFormat) -> sf.SoundFile:
    # LAME's variable bit rate, libsndfile's default, writes frames at low sample rates that decoders stumble over. The
    # constant rate at this level is 224 kbit/s at 44.1 and 48 kHz, 112 kbit/s at 16 kHz.
    mp3 = {"bitrate_mode": "CONSTANT", "compression_level": 0.3} if audio_format.container == "MP3" else {}
    kind = _Mp3File if mp3 else sf.SoundFile
    file = kind(
        os.fsencode(path),
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


class _Mp3File(sf.SoundFile):  # type: ignore[misc]
    """LAME ends the whole process over samples very far above full scale, so they are clipped 60 dB above it."""

    def write(self, data: NDArray[np.float32]) -> None:
        super().write(data.clip(-1000, 1000))
