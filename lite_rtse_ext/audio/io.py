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
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.formats import (
    CONTAINERS,
    READ_SUFFIXES,
    AudioError,
    AudioFormat,
    AudioWarning,
)
from lite_rtse_ext.audio.media import NEEDS_AV, MediaReader, has_av
from lite_rtse_ext.audio.pipe import PipeReader, Rewindable, Source
from lite_rtse_ext.audio.reader import BLOCK_FRAMES, Reader, split
from lite_rtse_ext.audio.sndfile import open_sndfile
from lite_rtse_ext.audio.wav import header_of, set_channel_mask
from lite_rtse_ext.utils.atomic_file import replacing

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
    "open_pipe",
    "read",
    "read_blocks",
    "read_format",
    "split",
    "write",
    "writer",
]

_WITH_TAGS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF", "CAF"})
_PIECE_BYTES = 1 << 16
_LIBSNDFILES = (b"RIFF", b"RF64", b"RIFX", b"riff", b"FORM", b".snd", b"caff", b"fLaC", b"OggS", b"ID3", b"NIST_1A")
_PYAVS = (b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AMR", b"FLV", b"wvpk", b"TTA1", b"MAC ", b"\x0bw", b"\0\0\1\xba")
_BEGINNINGS = _LIBSNDFILES + _PYAVS
"""First bytes of what may be sound."""


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
            yield _reader(path, file, str(path), stack)
        elif file.isatty():
            raise AudioError(f"{path}: expected sound, got a terminal")
        else:
            yield open_pipe(file, None, str(path), stack)


def open_pipe(source: Source, raw: AudioFormat | None, name: str, stack: ExitStack) -> Reader:
    """What reads sound from a pipe.

    WAV and bare samples are read as they come. Of other formats the whole is kept in a temporary file first.

    Args:
        source: the pipe.
        raw: what bare samples are; None for whatever comes.
        name: for messages.
        stack: closes what is opened.

    Raises:
        AudioError: not audio.
    """
    kept = Rewindable(source)
    try:
        reader = PipeReader(kept, raw, name)
    except AudioError:
        if raw is not None or not _sounds(kept.rewind()):
            raise
        path = Path(stack.enter_context(TemporaryDirectory()), "sound")
        with path.open("wb") as copy:
            while piece := kept.read1(_PIECE_BYTES):
                copy.write(piece)
        return _reader(path, stack.enter_context(path.open("rb")), name, stack)
    kept.settle()
    return reader


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


def _reader(path: Path, file: io.BufferedReader, name: str, stack: ExitStack) -> Reader:
    """What reads a regular file: libsndfile, or else what knows better."""
    if not file.read(1):
        raise AudioError(f"{name}: the file is empty")
    file.seek(0)
    header = header_of(file, name)
    behind = os.fstat(file.fileno()).st_size - file.tell()  # bytes of samples, in a WAV
    if header is None or not header.repaired:
        reader = open_sndfile(path, name, header, behind, stack)
        if reader is not None:
            return reader
    file.seek(0)
    if header is not None:
        if not behind:
            raise AudioError(f"{name}: the file holds no samples")
        return PipeReader(file, None, name)
    if not has_av():
        raise AudioError(f"{name}: not an audio file that can be read here; {NEEDS_AV}")
    return stack.enter_context(MediaReader(file, name))


def _sounds(head: bytes) -> bool:
    """Whether what begins like this may be sound, and is worth keeping."""
    return head.startswith(_BEGINNINGS) or head[4:8] == b"ftyp" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")


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
