"""Reading of audio files with libsndfile, without seeking, up to the actual end instead of the stated one.

libmpg123 writes lines to stderr if an mp3 has an unusual header. libsndfile has no setting that prevents it.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.formats import AudioError, AudioFormat, say
from lite_rtse_ext.audio.reader import BLOCK_FRAMES, Reader, checked_blocks
from lite_rtse_ext.audio.wav import SPARE_BYTES, WavHeader

_MAY_END_EARLY = frozenset({"WAV", "WAVEX", "RF64", "MP3"})
_MOST_FRAMES_A_BYTE = 65_536
"""Reached by a FLAC of silence. A larger count, such as 2^63 - 1, is not a length: the header states none."""


def open_sndfile(path: Path, name: str, header: WavHeader | None, behind: int, stack: ExitStack) -> Reader | None:
    """Return a reader of a file that uses libsndfile, or None if libsndfile finds no audio in it.

    Args:
        path: the file.
        name: the file's name in messages.
        header: the file's header, if it is a WAV.
        behind: number of bytes behind that header.
        stack: closes everything that is opened.

    Raises:
        AudioError: the number of channels or the sample rate is out of range.
    """
    file = _opened(os.fsencode(path), stack)
    if file is None and (mended := _Mended.of(path, stack)):
        file = _opened(mended, stack)
    if file is None:
        return None
    found = _format_of(file, header, path.stat().st_size).checked(name)
    stated = found.frames
    if file.subtype.startswith("MPEG"):
        endless = _opened(stack.enter_context(_Endless(os.fsencode(path))), stack)
        if endless is not None and endless.frames != file.frames:  # an estimate
            file, stated = endless, None
        found = replace(found, exact=False)
    elif header is not None and header.data_bytes is not None and header.data_bytes > behind + SPARE_BYTES:
        stated = header.format.frames
    return _FileReader(name, file, found, stated)


def _opened(source: bytes | io.FileIO, stack: ExitStack) -> sf.SoundFile | None:
    """Return the opened file, or None if libsndfile finds no samples in it."""
    try:
        file = stack.enter_context(_Forward(source))
    except (sf.LibsndfileError, TypeError):  # TypeError: the suffix .raw requires explicit format arguments
        return None
    return file if file.frames else None


def _format_of(file: sf.SoundFile, header: WavHeader | None, size: int) -> AudioFormat:
    tags = {name: value for name, value in file.copy_metadata().items() if value}
    frames = file.frames if file.frames <= size * _MOST_FRAMES_A_BYTE else None
    found = AudioFormat(file.samplerate, file.channels, file.format, file.subtype, file.endian, frames, tags)
    mask = header.format.channel_mask if header is not None and file.format == "WAVEX" else None
    return replace(found, channel_mask=mask)


class _Forward(sf.SoundFile):  # type: ignore[misc]
    """A file without seeking. soundfile otherwise seeks after each block, which fails near an unknown length."""

    def seekable(self) -> bool:
        return False


class _Endless(io.FileIO):
    """A file that reports an end far behind the actual one.

    If an mp3 does not state its length, libmpg123 estimates the length from the file size. It stops there, even if the
    file has more frames. With the estimate from this file's size it reads to the actual end.
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


class _Mended(io.FileIO):
    """A file whose header is read with a corrected length: the actual one.

    libsndfile can't read an AU whose recorder has not written the length. It can't read a CAF whose header states that
    the length is unknown.
    """

    _at = 0
    _length = b""

    @classmethod
    def of(cls, path: Path, stack: ExitStack) -> _Mended | None:
        """Return the file if its length can be corrected, otherwise None."""
        file = stack.enter_context(cls(os.fsencode(path)))
        head = file.read(8)
        if head[:4] == b".snd":
            file._at, file._length = 8, b"\xff" * 4
        if head[:4] == b"caff" and (start := _samples_of_caf(file)):
            left = os.fstat(file.fileno()).st_size - start
            file._at, file._length = start - 8, struct.pack(">q", left)
        file.seek(0)
        return file if file._length else None

    def readinto(self, buffer: memoryview, /) -> int | None:  # type: ignore[override]
        start = self.tell()
        count = super().readinto(buffer) or 0
        first, last = max(start, self._at), min(start + count, self._at + len(self._length))
        if first < last:
            buffer[first - start : last - start] = self._length[first - self._at : last - self._at]
        return count


def _samples_of_caf(file: io.FileIO) -> int:
    """Return the position of the first sample of a CAF, or 0 if there is none.

    The file must be positioned at its first chunk.
    """
    while len(chunk := file.read(12)) == 12:
        kind, length = struct.unpack(">4sq", chunk)
        if kind == b"data":
            return file.tell()
        if not 0 <= length < 2**62:
            break
        file.seek(length, os.SEEK_CUR)
    return 0


class _FileReader:
    """A :class:`Reader` that uses libsndfile.

    Args:
        name: the file's name in messages.
        file: the opened file.
        audio_format: the file's format.
        stated: number of frames that the header states; the file may have fewer. None if it states none.
    """

    def __init__(self, name: str, file: sf.SoundFile, audio_format: AudioFormat, stated: int | None) -> None:
        self.name, self.format = name, audio_format
        self._file, self._stated = file, stated

    def blocks(self, block_frames: int = BLOCK_FRAMES, /) -> Iterator[NDArray[np.float32]]:
        """See :class:`Reader`."""
        return checked_blocks(self.name, self._blocks(block_frames), block_frames)

    def drain(self) -> None:
        """Do nothing: a file has no writer that waits."""

    def _blocks(self, block_frames: int) -> Iterator[NDArray[np.float32]]:
        done, most = 0, self.format.exact_frames  # data behind the samples may not be audio
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
        """Handle a file that ends early: a warning for some containers, an error for all others."""
        if self.format.container not in _MAY_END_EARLY:
            raise AudioError(f"{self.name}: damaged, {done} of {self._stated} samples a channel could be read")
        there, stated = (f"{frames / self.format.sample_rate:.2f} s" for frames in (done, self._stated or 0))
        say(f"{self.name}: is cut off, its header states {stated} of sound, there are {there}")
