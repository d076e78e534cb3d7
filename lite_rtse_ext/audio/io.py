"""Reading and writing of audio files, block by block: wav, flac, ogg, opus, mp3, aiff, caf, au and related formats.

libsndfile reads and writes the files. PyAV reads what libsndfile can't, if PyAV is installed.

Only :func:`read` holds a whole file in memory. A file that is being written has a temporary name in its own folder. It
gets its real name only when it is complete. A file with the real name is therefore never incomplete.
"""

from __future__ import annotations

import errno
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
    DAMAGED,
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
from lite_rtse_ext.utils.atomic_file import naming_full_disk, replacing

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
_MOST_VORBIS_HZ = 200_000
"""The encoder has no setting for higher rates. libsndfile does not ask it in time."""
_PIECE_BYTES = 1 << 16
_SYSTEM_ERROR = 2  # libsndfile's number
_LIBSNDFILES = (b"RIFF", b"RF64", b"RIFX", b"riff", b"FORM", b".snd", b"caff", b"fLaC", b"OggS", b"ID3", b"NIST_1A")
_PYAVS = (b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AMR", b"FLV", b"wvpk", b"TTA1", b"MAC ", b"\x0bw", b"\0\0\1\xba")
_BEGINNINGS = _LIBSNDFILES + _PYAVS
"""First bytes of formats that may contain audio."""


def is_regular(path: Path) -> bool:
    """Return whether the path is a regular file, which can be read repeatedly. Named pipes and devices are not.

    Raises:
        OSError: there is no such file.
    """
    return stat.S_ISREG(path.stat().st_mode)


@contextmanager
def open_audio(path: str | os.PathLike[str]) -> Iterator[Reader]:
    """Open an audio file for reading. A named pipe or a device is opened once and read like a pipe.

    Yields:
        The reader. It is closed when the block ends.

    Raises:
        OSError: the file does not exist or can't be read.
        AudioError: the file is empty, is not audio, holds no samples, or is a terminal.
    """
    path = Path(path)
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))  # for the system's message: libsndfile only says "System error"
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield _reader(path, file, str(path), stack)
        elif file.isatty():
            raise AudioError(f"{path}: expected sound, got a terminal")
        else:
            yield open_pipe(file, None, str(path), stack)


def open_pipe(source: Source, raw: AudioFormat | None, name: str, stack: ExitStack) -> Reader:
    """Return a reader for the audio in a pipe.

    WAV and samples without a header are read as they arrive. Other formats are first copied to a temporary file.

    Args:
        source: the pipe.
        raw: format of samples without a header; None if the audio has a header.
        name: the pipe's name in messages.
        stack: closes everything that is opened.

    Raises:
        AudioError: the pipe does not contain audio.
    """
    kept = Rewindable(source)
    try:
        reader = PipeReader(kept, raw, name)
    except AudioError:
        if raw is not None or not _sounds(kept.rewind()):
            raise
        path = Path(stack.enter_context(TemporaryDirectory()), "sound")
        with naming_full_disk(path), path.open("wb") as copy:
            while piece := kept.read1(_PIECE_BYTES):
                copy.write(piece)
        return _reader(path, stack.enter_context(path.open("rb")), name, stack)
    kept.settle()
    return reader


def read_format(path: str | os.PathLike[str]) -> AudioFormat:
    """Return the format of an audio file.

    Raises:
        OSError: the file does not exist or can't be read.
        AudioError: the file is empty, is not audio, or holds no samples. Or it is a pipe or a device: reading the
            format would use up its samples.
    """
    if not is_regular(Path(path)) and not Path(path).is_dir():
        raise AudioError(f"{path}: expected a regular file, got a pipe or device, whose samples can be had once only")
    with open_audio(path) as reader:
        return reader.format


def read_blocks(path: str | os.PathLike[str], block_frames: int = BLOCK_FRAMES) -> Iterator[NDArray[np.float32]]:
    """Read the samples of an audio file in blocks.

    Args:
        path: the file.
        block_frames: maximum number of frames per block.

    Yields:
        Blocks ``(frames, channels)``, float32, full scale 1.

    Raises:
        OSError: the file does not exist or can't be read.
        AudioError: the file is empty, is not audio, is damaged, or has a sample that is NaN or infinite.
    """
    with open_audio(path) as reader:
        yield from reader.blocks(block_frames)


def read(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], AudioFormat]:
    """Read a whole audio file.

    Returns:
        The samples, ``(frames, channels)``, float32, full scale 1, and the format. The format's ``frames`` is the
        actual number of frames.

    Raises:
        OSError, AudioError: as :func:`read_blocks`.
    """
    with open_audio(path) as reader:
        samples = np.concatenate(list(reader.blocks()))
        return samples, replace(reader.format, frames=len(samples), exact=True)


@contextmanager
def writer(path: str | os.PathLike[str], audio_format: AudioFormat) -> Iterator[sf.SoundFile]:
    """Open an audio file for writing. The file replaces ``path`` when the ``with`` block ends without an exception.

    Integer formats clip at full scale, and mp3 clips 60 dB above it. Blocks of at most :data:`BLOCK_FRAMES` frames are
    safe. libsndfile's Vorbis encoder overflows its stack on very long blocks.

    Yields:
        The file. Its ``write`` takes blocks ``(frames, channels)``, float32, full scale 1.

    Raises:
        OSError: the folder does not exist or can't be written to, ``path`` is neither free nor a regular file, or the
            disk is full.
        AudioError: the format does not support this sample rate, number of channels or sample type.
    """
    path = Path(path)
    with replacing(path) as temporary:
        kind = f"{audio_format.container}/{audio_format.subtype}"
        what = f"{path}: can't write {audio_format.sample_rate} Hz, {audio_format.channels} channel(s) as {kind}"
        if not sf.check_format(audio_format.container, audio_format.subtype, audio_format.endian):
            raise AudioError(f"{what} (libsndfile has no such format, endian {audio_format.endian})")
        if audio_format.subtype in DAMAGED:
            why = f"{audio_format.subtype} is not written in {audio_format.container}: libsndfile damages loud noise"
            raise AudioError(f"{what} ({why})")
        if audio_format.subtype == "VORBIS" and audio_format.sample_rate > _MOST_VORBIS_HZ:
            raise AudioError(f"{what} (expected at most {_MOST_VORBIS_HZ} Hz)")
        try:
            with _create(temporary, audio_format) as file:
                yield file
        except sf.LibsndfileError as error:
            _check_room(temporary, path)
            if error.code == _SYSTEM_ERROR:  # of a disk that has room again
                raise OSError(errno.EIO, "can't be written (the system refused it)", os.fspath(path)) from error
            raise AudioError(f"{what} ({error.error_string})") from error
        if audio_format.container == "WAVEX" and audio_format.channel_mask is not None:
            set_channel_mask(temporary, audio_format.channel_mask)


def write(
    path: str | os.PathLike[str],
    samples: NDArray[np.float32] | Iterable[NDArray[np.float32]],
    audio_format: AudioFormat,
) -> None:
    """Write an audio file.

    Args:
        path: the file.
        samples: ``(frames, channels)``, float32, full scale 1: an array, or its blocks.
        audio_format: the format to write.

    Raises:
        OSError, AudioError: as :func:`writer`.
    """
    if isinstance(samples, np.ndarray):
        samples = split(samples)
    with writer(path, audio_format) as file:
        for block in samples:
            file.write(block)


def _reader(path: Path, file: io.BufferedReader, name: str, stack: ExitStack) -> Reader:
    """Return a reader for a regular file: libsndfile, or if it fails, the WAV reader or PyAV."""
    if not file.read(1):
        raise AudioError(f"{name}: the file is empty")
    file.seek(0)
    header = header_of(file, name)
    behind = os.fstat(file.fileno()).st_size - file.tell()  # in a WAV: bytes of samples
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
    """Return whether data with this beginning may be audio."""
    return head.startswith(_BEGINNINGS) or head[4:8] == b"ftyp" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")


def _check_room(temporary: Path, path: Path) -> None:
    """Raise the system's error if a file can't grow, as on a full disk. libsndfile does not say which error it met."""
    try:
        with temporary.open("ab", buffering=0) as file:
            while file.write(bytes(_PIECE_BYTES)) < _PIECE_BYTES:
                pass  # the next write raises the error
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, f"can't be written ({error.strerror})", os.fspath(path)) from error


def _create(path: Path, audio_format: AudioFormat) -> sf.SoundFile:
    # libsndfile's default is LAME's variable bit rate. At low sample rates it writes frames that decoders have trouble
    # with. At this level the constant bit rate is 224 kbit/s at 44.1 and 48 kHz, and 112 kbit/s at 16 kHz.
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
    """An mp3 file that clips samples 60 dB above full scale. LAME aborts the process on samples far above that."""

    def write(self, data: NDArray[np.float32]) -> None:
        super().write(data.clip(-1000, 1000))
