"""Converts audio of any kind to the form that training reads: 16 kHz, mono, 16-bit FLAC."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import AudioError, AudioFormat, read_blocks, read_format, write
from lite_rtse_ext.audio.resampling import length_at, resample, resample_blocks
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["FULL_SCALE_PEAK", "decode", "decode_bytes", "decoded_frames", "is_complete", "read_back", "write_flac"]

_FULL_SCALE = np.float32(32768)
FULL_SCALE_PEAK = 0.999
"""A waveform with a higher peak is scaled down to this peak, so that it is not clipped."""


def decode(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Decode an audio file. Channels are averaged, and other sample rates are resampled.

    All formats of libsndfile are read, and also G.722 (``.g722``), which has no header.

    Returns:
        The samples, float32, ``(samples,)``, mono at 16 kHz, with full scale at 1.

    Raises:
        OSError: the file does not exist or may not be read.
        AudioError: the file is empty, not audio, or damaged.
        ImportError: the file is G.722, and the package av is not installed.
    """
    path = Path(path)
    if path.suffix.lower() == ".g722":
        return _decode_g722(path)
    mono = (block.mean(axis=1, keepdims=True) for block in read_blocks(path))
    blocks = list(resample_blocks(mono, read_format(path).sample_rate, SAMPLE_RATE_HZ))
    if not blocks:
        raise AudioError(f"{path}: the file holds no samples")
    return np.concatenate(blocks)[:, 0]


def read_back(path: Path) -> NDArray[np.float32]:
    """Read all samples of a file that :func:`write_flac` wrote, float32, ``(samples,)``."""
    samples: NDArray[np.float32] = sf.read(os.fsencode(path), dtype="float32")[0]
    return samples


def decoded_frames(path: Path) -> int | None:
    """Return the number of samples that :func:`decode` will return, according to the header.

    In some formats the header has only an estimate. The result is None if the header states no length.

    Raises:
        OSError: the file does not exist or may not be read.
        AudioError: the file is empty, or not audio.
    """
    if path.suffix.lower() == ".g722":
        return 2 * path.stat().st_size  # 64 kbit/s: two samples a byte
    source = read_format(path)
    frames: int | None = source.frames
    return None if frames is None else length_at(frames, source.sample_rate, SAMPLE_RATE_HZ)


def decode_bytes(content: bytes, name: str) -> NDArray[np.float32]:
    """Decode the content of a file in a format of libsndfile, as :func:`decode` does.

    Args:
        content: the content of the file.
        name: the name of the file in error messages.

    Returns:
        The samples, float32, ``(samples,)``. They are empty if the file holds no samples.

    Raises:
        AudioError: the content is not audio, or is damaged.
    """
    try:
        samples, sample_rate = sf.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except sf.LibsndfileError as error:
        raise AudioError(f"{name}: not audio that can be read ({error.error_string})") from error
    return resample(samples.mean(axis=1), sample_rate, SAMPLE_RATE_HZ) if len(samples) else samples[:, 0]


def _decode_g722(path: Path) -> NDArray[np.float32]:
    try:
        import av
    except ImportError as error:
        raise ImportError(f"{path}: decoding G.722 needs the package av: pip install 'lite-rtse-ext[train]'") from error
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty")
    try:
        with av.open(str(path), format="g722") as container:
            blocks = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    except av.FFmpegError as error:
        raise AudioError(f"{path}: can't be decoded as G.722 ({error})") from error
    if not blocks:
        raise AudioError(f"{path}: the file holds no samples")
    samples: NDArray[np.float32] = np.divide(np.concatenate(blocks), _FULL_SCALE, dtype=np.float32)
    return samples


def write_flac(path: str | os.PathLike[str], samples: NDArray[np.float32]) -> None:
    """Write a waveform, float32 ``(samples,)`` at 16 kHz, as 16-bit FLAC.

    The file appears under its name only when it is complete. A peak above :data:`FULL_SCALE_PEAK` is scaled down to it.

    Raises:
        OSError: the file can't be written.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > FULL_SCALE_PEAK:
        samples = samples * np.float32(FULL_SCALE_PEAK / peak)
    write(path, samples[:, None], AudioFormat(SAMPLE_RATE_HZ, 1, "FLAC", "PCM_16"))


def complete_frames(path: Path) -> int | None:
    """Return the length of a complete file of 16 kHz mono in samples, or None if there is none."""
    try:
        frames = int(sf.info(os.fsencode(path)).frames)
    except (sf.LibsndfileError, OSError):
        return None
    return frames if frames and is_complete(path, frames) else None


def is_complete(path: Path, frames: int) -> bool:
    """Whether a file exists, is 16 kHz mono, and has ``frames`` samples. Its header and last sample are read."""
    try:
        with sf.SoundFile(os.fsencode(path)) as file:
            found = (file.samplerate, file.channels, file.frames)
            if found != (SAMPLE_RATE_HZ, 1, frames):
                return False
            file.seek(frames - 1)  # the header of a truncated file still states the full length
            return len(file.read(1)) == 1
    except (sf.LibsndfileError, OSError):
        return False
