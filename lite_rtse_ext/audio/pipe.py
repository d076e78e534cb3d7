"""Sound through a pipe: WAV or bare samples, read as they come and written as they are ready.

A pipe can't be wound back, and a WAV that is written into one may not know its length when it begins. sox, ffmpeg and
arecord then leave a number there that no file has; this does too, unless its own input says how long it is. libsndfile,
which wants to wind back, only converts samples here.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Protocol

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.formats import SAMPLE_BYTES, AudioError, AudioFormat
from lite_rtse_ext.audio.reader import BLOCK_FRAMES, checked_blocks
from lite_rtse_ext.audio.wav import SPARE_BYTES, header_bytes, raw_header, read_header

RAW_SUBTYPES = {"u8": "PCM_U8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE"}
RAW_SUBTYPES |= {"ulaw": "ULAW", "alaw": "ALAW"}
"""Little-endian sample types as ffmpeg calls them, and libsndfile's names."""

_PIECE_BYTES = 1 << 16


class Source(Protocol):
    """A pipe's reading end, such as ``sys.stdin.buffer``: ``read1`` gives what is there, and waits only for some."""

    def read1(self, size: int = -1, /) -> bytes: ...


class PipeReader:
    """Samples out of a pipe.

    Args:
        source: the pipe.
        raw: what bare samples are; None for a WAV, whose header says it and is read at once.
        name: for messages.

    Raises:
        AudioError: not a WAV, or one of a kind that is not read here.
    """

    def __init__(self, source: Source, raw: AudioFormat | None = None, name: str = "-") -> None:
        self._source, self.name = source, name
        self._header = read_header(self._exactly, name) if raw is None else raw_header(raw)
        self._expected = self._header.data_bytes
        self.format = self._header.format

    def blocks(self, block_frames: int = BLOCK_FRAMES, /) -> Iterator[NDArray[np.float32]]:
        """See :class:`~lite_rtse_ext.audio.reader.Reader`. A block comes as soon as there is a frame."""
        return checked_blocks(self.name, self._decoded(), block_frames)

    def drain(self) -> None:
        """Takes what follows the samples, so that whoever writes it does not find the pipe closed."""
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
        """The samples' bytes, cut where they can be decoded. What is left in the end is no whole frame."""
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

    def _take(self, most: int) -> bytes:
        """What there is, at most so many bytes; counts them off what is expected."""
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
    """Samples into a pipe, each block at once.

    Args:
        target: the pipe's writing end.
        audio_format: rate, channels, sample type, and frames if they are known; a sample type that WAV doesn't have
            becomes the nearest that it has.
        raw: the sample type of bare samples; None for a WAV.
    """

    def __init__(self, target: BinaryIO, audio_format: AudioFormat, raw: str | None = None) -> None:
        self._target = target
        self._format = replace(audio_format, subtype=raw) if raw else _in_pipe(audio_format)
        if not raw:
            target.write(header_bytes(self._format))
            target.flush()

    def write(self, block: NDArray[np.float32]) -> None:
        """One block ``(frames, channels)``; integer formats clip at full scale."""
        f = self._format
        buffer = io.BytesIO()
        with sf.SoundFile(buffer, "w", f.sample_rate, f.channels, f.subtype, "LITTLE", "RAW") as file:
            file.write(block)
        self._target.write(buffer.getvalue())
        self._target.flush()


def _in_pipe(audio_format: AudioFormat) -> AudioFormat:
    """The format as a WAV in a pipe has it: little-endian."""
    container = "WAV" if audio_format.channel_mask is None else "WAVEX"
    return replace(audio_format, endian="FILE").within(container)


class Rewindable:
    """A pipe whose first bytes can be had twice."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: bytes | None = b""
        self._again = b""

    def read1(self, size: int = -1, /) -> bytes:
        """As a :class:`Source` does."""
        if self._again:
            size = len(self._again) if size < 0 else size
            piece, self._again = self._again[:size], self._again[size:]
            return piece
        piece = self._source.read1(size)
        if self._kept is not None:
            self._kept += piece
        return piece

    def rewind(self) -> bytes:
        """Goes back to the beginning, once; returns what has been read."""
        self._again, self._kept = self._kept or b"", None
        return self._again

    def settle(self) -> None:
        """Keeps nothing from here on."""
        self._kept = None
