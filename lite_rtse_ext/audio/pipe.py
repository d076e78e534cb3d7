"""Audio in pipes: WAV or samples without a header, read as they arrive and written as they become available.

A pipe does not support seeking. The length of a WAV may be unknown when its header is written into a pipe. sox, ffmpeg
and arecord then write a number that no file has as its length. This module does the same if its input states no length.
libsndfile needs to seek, so it only converts samples here.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Protocol

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.formats import SAMPLE_BYTES, AudioError, AudioFormat, say
from lite_rtse_ext.audio.reader import BLOCK_FRAMES, checked_blocks
from lite_rtse_ext.audio.wav import SPARE_BYTES, header_bytes, raw_header, read_header

RAW_SUBTYPES = {"u8": "PCM_U8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE"}
RAW_SUBTYPES |= {"ulaw": "ULAW", "alaw": "ALAW"}
"""Little-endian sample types: libsndfile's names by ffmpeg's names."""

_PIECE_BYTES = 1 << 16


class Source(Protocol):
    """A pipe's reading end, such as ``sys.stdin.buffer``.

    ``read1`` returns the bytes that are available. It waits only if there are none.
    """

    def read1(self, size: int = -1, /) -> bytes: ...


class PipeReader:
    """A :class:`~lite_rtse_ext.audio.reader.Reader` of samples from a pipe.

    Args:
        source: the pipe.
        raw: format of samples without a header; None for a WAV. The constructor reads a WAV's header.
        name: the pipe's name in messages.

    Raises:
        AudioError: the pipe does not contain a WAV, or contains one of an unsupported kind.
    """

    def __init__(self, source: Source, raw: AudioFormat | None = None, name: str = "-") -> None:
        self._source, self.name = source, name
        self._header = read_header(self._exactly, name) if raw is None else raw_header(raw)
        self._expected = self._header.data_bytes
        self.format = self._header.format

    def blocks(self, block_frames: int = BLOCK_FRAMES, /) -> Iterator[NDArray[np.float32]]:
        """See :class:`~lite_rtse_ext.audio.reader.Reader`. A block is yielded as soon as a frame is available."""
        return checked_blocks(self.name, self._decoded(), block_frames)

    def drain(self) -> None:
        """Read the data behind the samples, so that its writer does not find the pipe closed."""
        while self._source.read1(_PIECE_BYTES):
            pass

    def _decoded(self) -> Iterator[NDArray[np.float32]]:
        done = 0
        for data in self._whole_units():
            block = self._header.decoded(data)
            done += len(block)
            yield block
        if (self._expected or 0) > SPARE_BYTES:
            raise AudioError(f"{self.name}: damaged, it ends after {done} samples a channel")

    def _whole_units(self) -> Iterator[bytes]:
        """Yield the samples' bytes, cut where they can be decoded. Part of a frame at the end is told and left out."""
        unit, left = self._header.unit_bytes, b""
        if self._header.empty:
            left = self._take(4)
            if left.isascii() and left.decode().isprintable():  # the name of a chunk
                return
        while piece := self._take(_PIECE_BYTES):
            left += piece
            whole = len(left) // unit * unit
            if whole:
                yield left[:whole]
                left = left[whole:]
        if left and self.format.subtype not in SAMPLE_BYTES:  # a last block may be short
            yield left
        elif left:
            say(f"{self.name}: expected whole frames of {unit} bytes, got {len(left)} more at the end, left out")

    def _take(self, most: int) -> bytes:
        """Read the available bytes, at most ``most``, and subtract their number from the expected length."""
        size = most if self._expected is None else min(self._expected, most)
        piece = self._source.read1(size) if size else b""
        if self._expected is not None:
            self._expected -= len(piece)
        return piece

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._source.read1(size - len(data))
            if not piece:
                raise AudioError(f"{self.name}: no WAV: it ends within the header")
            data += piece
        return data


class PipeWriter:
    """Writes samples to a pipe and flushes every block. The constructor writes a WAV's header.

    Args:
        target: the pipe's writing end.
        audio_format: sample rate, channels, sample type, and number of frames if it is known. A sample type that WAV
            does not support becomes the nearest supported one.
        raw: libsndfile's name of the sample type for output without a header; None for a WAV.

    Raises:
        BlockingIOError: the pipe is full and does not block. :meth:`write` raises it too.
    """

    def __init__(self, target: BinaryIO, audio_format: AudioFormat, raw: str | None = None) -> None:
        self._target = target
        self._format = replace(audio_format, subtype=raw) if raw else _in_pipe(audio_format)
        if not raw:
            self._send(header_bytes(self._format))

    def write(self, block: NDArray[np.float32]) -> None:
        """Write and flush one block ``(frames, channels)``, float32. Integer formats clip at full scale, 1."""
        f = self._format
        buffer = io.BytesIO()
        with sf.SoundFile(buffer, "w", f.sample_rate, f.channels, f.subtype, "LITTLE", "RAW") as file:
            file.write(block)
        self._send(buffer.getvalue())

    def _send(self, data: bytes) -> None:
        """Write and flush all bytes. One write of an unbuffered pipe, as with ``python -u``, may take only some."""
        left = memoryview(data)
        while left:
            taken: int | None = self._target.write(left)
            if taken is None:  # what an unbuffered pipe returns; a buffered one raises this exception itself
                words = "expected a pipe that waits while it is full, got one that does not"
                raise BlockingIOError(errno.EAGAIN, words)
            left = left[taken:]
        self._target.flush()


def _in_pipe(audio_format: AudioFormat) -> AudioFormat:
    """Return the nearest format of a WAV in a pipe, which is little-endian."""
    container = "WAV" if audio_format.channel_mask is None else "WAVEX"
    return replace(audio_format, endian="FILE").within(container)


class Rewindable:
    """A pipe whose first bytes can be read twice."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: bytes | None = b""
        self._again = b""

    def read1(self, size: int = -1, /) -> bytes:
        """Read as :class:`Source` does."""
        if self._again:
            size = len(self._again) if size < 0 else size
            piece, self._again = self._again[:size], self._again[size:]
            return piece
        piece = self._source.read1(size)
        if self._kept is not None:
            self._kept += piece
        return piece

    def rewind(self) -> bytes:
        """Go back to the beginning, which is possible once, and return the bytes read so far."""
        self._again, self._kept = self._kept or b"", None
        return self._again

    def settle(self) -> None:
        """Stop keeping the bytes that are read."""
        self._kept = None
