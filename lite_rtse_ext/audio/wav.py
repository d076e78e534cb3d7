"""WAV headers, read sequentially without seeking. libsndfile identifies the sample type."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.formats import SAMPLE_BYTES, AudioError, AudioFormat

PCM, EXTENSIBLE = 1, 0xFFFE
_TAGS = {"FLOAT": 3, "DOUBLE": 3, "ALAW": 6, "ULAW": 7}  # the others are PCM
UNKNOWN_BYTES = 0xFFFFFFFF
"""The length that a header states if the length is unknown."""
_STREAMED = (range(0x7FF00000, 0x80000001), range(0xFFF00000, 0x100000000), range(2**62, 2**64))
"""Lengths that mean an unknown length: close to the maximum of 31, 32, 63 or 64 bits, as writers subtract a header."""
SPARE_BYTES = 1024
"""Tolerance in bytes: a header may state more samples than there are, because some writers include the header."""
_MOST_HEADER_BYTES = 1 << 20
_MOST_CHUNKS = 1000
_BLOCK_CODED = ("MS_ADPCM", "IMA_ADPCM")  # each block of these can be decoded independently
_GUID = bytes.fromhex("0000000000001000800000aa00389b71")[2:]


@dataclass(frozen=True)
class WavHeader:
    """The header of a WAV.

    Attributes:
        format: the audio format, with the length if the header states it.
        layout: the chunk ``fmt``, corrected if libsndfile would misread it.
        unit_bytes: bytes of the smallest unit that can be decoded: a frame, or a block of ADPCM.
        data_bytes: bytes of samples that the header states; None if it states no length.
        empty: whether the header states that there are no samples, and that another chunk follows.
        repaired: whether libsndfile would misread the file's own ``fmt``.
    """

    format: AudioFormat
    layout: bytes
    unit_bytes: int
    data_bytes: int | None = None
    empty: bool = False
    repaired: bool = False

    def decoded(self, data: bytes) -> NDArray[np.float32]:
        """Decode the bytes of whole units to samples ``(frames, channels)``, float32, full scale 1."""
        with sf.SoundFile(io.BytesIO(_riff(self.layout, len(data)) + data)) as file:
            block: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)
        return block


def is_wav(head: bytes) -> bool:
    """Return whether these first bytes, at least 12, are those of a WAV."""
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"


def read_header(exactly: Callable[[int], bytes], name: str) -> WavHeader:
    """Read the header of a WAV, up to the first sample.

    Args:
        exactly: returns exactly the given number of next bytes, or raises an AudioError.
        name: the source's name in messages.

    Raises:
        AudioError: the data is not a WAV, or a WAV of an unsupported kind.
    """
    head = exactly(12)
    if not is_wav(head):
        raise AudioError(f"{name}: no WAV; of samples without a header, say what they are (--raw)")
    layout, long_size, taken = b"", 0, len(head)
    for _ in range(_MOST_CHUNKS):
        kind, size = struct.unpack("<4sI", exactly(8))
        taken += 8 + size + size % 2
        if kind == b"data":
            if size == UNKNOWN_BYTES and long_size:
                size = long_size
            said = struct.unpack("<I", head[4:8])[0]
            empty = size == 0 and _is_known(said) and said + 8 > taken
            return replace(_header(name, layout, size), empty=empty)
        if size > _MOST_HEADER_BYTES:
            raise AudioError(f"{name}: a WAV with a header of {size} bytes")
        content = exactly(size + size % 2)
        if kind == b"fmt ":
            layout = content[:size]
            if size < 16:
                raise AudioError(f"{name}: a WAV with a damaged format")
        if kind == b"ds64" and size >= 16:  # of RF64: lengths beyond 32 bits
            long_size = struct.unpack("<Q", content[8:16])[0]
    raise AudioError(f"{name}: a WAV without samples")


def header_of(file: BinaryIO, name: str) -> WavHeader | None:
    """Read the header of a WAV file. Return None if the file is not a WAV of a supported kind.

    After a successful read the file is positioned at the first sample.
    """

    def exactly(size: int) -> bytes:
        data = file.read(size)
        if len(data) < size:
            raise AudioError(f"{name}: no WAV: it ends within the header")
        return data

    try:
        return read_header(exactly, name)
    except AudioError:
        return None


def header_bytes(audio_format: AudioFormat) -> bytes:
    """Return a WAV header, up to the first sample, for a format whose sample type is in :data:`SAMPLE_BYTES`."""
    frames = audio_format.exact_frames
    return _riff(_layout(audio_format), None if not frames else frames * _frame_bytes(audio_format))


def raw_header(audio_format: AudioFormat) -> WavHeader:
    """Return a header that describes samples of this format that have none."""
    return WavHeader(audio_format, _layout(audio_format), _frame_bytes(audio_format))


def set_channel_mask(path: Path, mask: int) -> None:
    """Set the speakers of a WAV that libsndfile has written. libsndfile writes a mask of its own choice.

    Raises:
        AudioError: the WAV is not a WAVE_FORMAT_EXTENSIBLE.
    """
    with path.open("r+b") as file:
        head = file.read(256)
        layout = head.find(b"fmt ") + 8
        if struct.unpack_from("<H", head, layout)[0] != EXTENSIBLE:
            raise AudioError(f"{path}: expected an extensible WAV, got another kind")
        file.seek(layout + 20)
        file.write(struct.pack("<I", mask))


def _header(name: str, layout: bytes, size: int) -> WavHeader:
    if not layout:
        raise AudioError(f"{name}: a WAV without a format")
    tag, channels, rate, _, block_bytes, bits = struct.unpack("<HHIIHH", layout[:16])
    extensible = tag == EXTENSIBLE and len(layout) >= 40
    mask = struct.unpack("<I", layout[20:24])[0] if extensible else None
    if extensible:
        tag = struct.unpack("<H", layout[24:26])[0]
    container = "WAVEX" if extensible else "WAV"
    found = AudioFormat(rate, channels, container, "", channel_mask=mask).checked(name)
    repaired = tag == PCM and 16 < bits <= 24 and block_bytes == 4 * channels
    if repaired:  # 24 bits in words of 32 bits; libsndfile assumes words of 24 bits
        layout = layout[:14] + struct.pack("<H", 32) + layout[16:]
    with suppress(sf.LibsndfileError), sf.SoundFile(io.BytesIO(_riff(layout, 0))) as file:
        found = replace(found, subtype=file.subtype)
    fixed = found.subtype in SAMPLE_BYTES
    unit = _frame_bytes(found) if fixed else block_bytes
    if not unit or not (fixed or found.subtype in _BLOCK_CODED):
        what = f"{channels} channels at {rate} Hz, kind {tag} of {bits} bits"
        raise AudioError(f"{name}: a WAV of a kind that is not read from pipes: {what}")
    if not _is_known(size):
        return WavHeader(found, layout, unit, repaired=repaired)
    found = replace(found, frames=size // unit if fixed else None)
    return WavHeader(found, layout, unit, size, repaired=repaired)


def _is_known(size: int) -> bool:
    """Return whether this is a length, and not a placeholder for an unknown one."""
    return size > 0 and not any(size in each for each in _STREAMED)


def _frame_bytes(audio_format: AudioFormat) -> int:
    return audio_format.channels * SAMPLE_BYTES[audio_format.subtype]


def _layout(audio_format: AudioFormat) -> bytes:
    """Return the chunk ``fmt`` of a format."""
    f = audio_format
    tag, frame, bits = _TAGS.get(f.subtype, PCM), _frame_bytes(f), 8 * SAMPLE_BYTES[f.subtype]
    outer = tag if f.channel_mask is None else EXTENSIBLE
    layout = struct.pack("<HHIIHH", outer, f.channels, f.sample_rate, f.sample_rate * frame, frame, bits)
    if f.channel_mask is None:
        return layout
    return layout + struct.pack("<HHIH", 22, bits, f.channel_mask, tag) + _GUID


def _riff(layout: bytes, size: int | None) -> bytes:
    """Return all bytes before the samples. ``size`` is the number of sample bytes, or None if it is unknown."""
    chunks = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + b"data"
    known = size is not None and size + len(chunks) + 4 < _STREAMED[1].start
    riff, data = (size + len(chunks) + 4, size) if known and size is not None else (UNKNOWN_BYTES, UNKNOWN_BYTES)
    return b"RIFF" + struct.pack("<I", riff) + chunks + struct.pack("<I", data)
