"""Sound through a pipe: WAV or bare samples, read as they come and written as they are ready.

A pipe can't be wound back, and a WAV that is written into one may not know its length when it begins. sox, ffmpeg and
arecord then leave a number there that no file has; this does too, unless its own input says how long it is. libsndfile,
which wants to wind back, only converts samples here.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Protocol

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import SAMPLE_BYTES, AudioError, AudioFormat

RAW_SUBTYPES = {"u8": "PCM_U8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE"}
"""Little-endian sample types as ffmpeg calls them, and libsndfile's names."""

_SUBTYPES = {
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN = 0xFFFFFFFF
_STREAMED = (range(1), range(0x7FF00000, 0x80000001), range(0xFFF00000, 0x100000000))
"""Lengths that are written where the length is not known: 0, or the most that 31 or 32 bits can say less a header."""
_MOST_HEADER_BYTES = 1 << 20
_MOST_CHUNKS = 1000
_MOST_CHANNELS = 64
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
        self._left = b""
        self._expected: int | None = None
        self.format = raw if raw is not None else self._read_header()

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Blocks ``(frames, channels)`` float32, full scale 1, as soon as there is a frame.

        Raises:
            AudioError: the samples end before the header says so, in mid-frame, or are not finite.
        """
        width = _frame_bytes(self.format)
        done = 0
        while piece := self._take(self._expected):
            self._left += piece
            whole = len(self._left) // width * width
            if whole:
                block = self._decoded(self._left[:whole])
                self._left = self._left[whole:]
                if not np.isfinite(block).all():
                    raise AudioError(
                        f"{self.name}: a sample after {done / self.format.sample_rate:.2f} s is not finite"
                    )
                done += len(block)
                yield block
        if self._left or (self._expected or 0) > 0:
            raise AudioError(f"{self.name}: damaged, it ends after {done} samples a channel")
        if not done:
            raise AudioError(f"{self.name}: holds no samples")

    def drain(self) -> None:
        """Takes what follows the samples, so that whoever writes it does not find the pipe closed."""
        while self._source.read1(_PIECE_BYTES):
            pass

    def _take(self, limit: int | None) -> bytes:
        """What there is of at most ``limit`` bytes; counts them off what is expected."""
        piece = self._source.read1(_PIECE_BYTES if limit is None else min(limit, _PIECE_BYTES)) if limit != 0 else b""
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

    def _read_header(self) -> AudioFormat:
        head = self._exactly(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            raise AudioError(f"{self.name}: no WAV; of samples without a header, say what they are (--raw)")
        found, long_size = None, 0
        for _ in range(_MOST_CHUNKS):
            kind, size = struct.unpack("<4sI", self._exactly(8))
            if kind == b"data":
                if found is None:
                    raise AudioError(f"{self.name}: a WAV without a format")
                return self._sized(found, long_size if size == _UNKNOWN else size)
            if size > _MOST_HEADER_BYTES:
                raise AudioError(f"{self.name}: a WAV with a header of {size} bytes")
            content = self._exactly(size + size % 2)
            if kind == b"fmt ":
                found = self._format(content)
            if kind == b"ds64" and size >= 16:  # of RF64: the lengths that 32 bits can't hold
                long_size = struct.unpack("<Q", content[8:16])[0]
        raise AudioError(f"{self.name}: a WAV without samples")

    def _sized(self, found: AudioFormat, size: int) -> AudioFormat:
        """The format with its length, if the header says it."""
        if any(size in each for each in _STREAMED):
            return found
        self._expected = size
        return replace(found, frames=size // _frame_bytes(found))

    def _format(self, content: bytes) -> AudioFormat:
        if len(content) < 16:
            raise AudioError(f"{self.name}: a WAV with a damaged format")
        tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
        if tag == _EXTENSIBLE and len(content) >= 26:
            tag = struct.unpack("<H", content[24:26])[0]
        subtype = _SUBTYPES.get((tag, bits))
        if subtype is None or not 1 <= channels <= _MOST_CHANNELS or not 1000 <= rate <= 1_000_000:
            what = f"{channels} channels at {rate} Hz, kind {tag} of {bits} bits"
            raise AudioError(f"{self.name}: a WAV of a kind that is not read from pipes: {what}")
        return AudioFormat(rate, channels, "WAV", subtype)

    def _decoded(self, data: bytes) -> NDArray[np.float32]:
        f = self.format
        with sf.SoundFile(io.BytesIO(data), "r", f.sample_rate, f.channels, f.subtype, "LITTLE", "RAW") as file:
            block: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)
        return block


class PipeWriter:
    """Samples into a pipe, each block at once.

    Args:
        target: the pipe's writing end.
        audio_format: rate, channels, sample type, and frames if they are known; a sample type that WAV pipes don't have
            becomes 16 bits.
        raw: the sample type of bare samples; None for a WAV.
    """

    def __init__(self, target: BinaryIO, audio_format: AudioFormat, raw: str | None = None) -> None:
        subtype = raw or (audio_format.subtype if audio_format.subtype in _SUBTYPES.values() else "PCM_16")
        self._target = target
        self._format = replace(audio_format, container="RAW", subtype=subtype)
        if not raw:
            target.write(self._header())
            target.flush()

    def write(self, block: NDArray[np.float32]) -> None:
        """One block ``(frames, channels)``; integer formats clip at full scale."""
        f = self._format
        buffer = io.BytesIO()
        with sf.SoundFile(buffer, "w", f.sample_rate, f.channels, f.subtype, "LITTLE", "RAW") as file:
            file.write(block)
        self._target.write(buffer.getvalue())
        self._target.flush()

    def _header(self) -> bytes:
        f = self._format
        tag, frame = (_FLOAT if f.subtype in ("FLOAT", "DOUBLE") else _PCM), _frame_bytes(f)
        bits = 8 * SAMPLE_BYTES[f.subtype]
        layout = struct.pack("<HHIIHH", tag, f.channels, f.sample_rate, f.sample_rate * frame, frame, bits)
        chunks = b"WAVE" + b"fmt " + struct.pack("<I", len(layout)) + layout + b"data"
        size = f.frames * frame
        known = size > 0 and size + len(chunks) + 4 < _STREAMED[-1].start
        riff, data = (size + len(chunks) + 4, size) if known else (_UNKNOWN, _UNKNOWN)
        return b"RIFF" + struct.pack("<I", riff) + chunks + struct.pack("<I", data)


def _frame_bytes(audio_format: AudioFormat) -> int:
    return audio_format.channels * SAMPLE_BYTES[audio_format.subtype]
