"""Conversion of one audio file to another. The caller provides the processing of the samples."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import AudioError, AudioFormat, Reader, is_regular, open_audio, split, writer
from lite_rtse_ext.utils.arguments import switch

Blocks = Iterable[NDArray[np.float32]]
Write = Callable[[NDArray[np.float32]], object]


@dataclass(frozen=True)
class Enhanced:
    """Duration and run time of a conversion.

    Attributes:
        audio_seconds: duration of the audio in seconds, for any number of channels.
        elapsed_seconds: elapsed time in seconds, including reading and writing.
    """

    audio_seconds: float
    elapsed_seconds: float

    @property
    def real_time_factor(self) -> float:
        """Real-time factor (RTF): elapsed time divided by audio duration. Below 1 is faster than real time."""
        return self.elapsed_seconds / self.audio_seconds


def file_to_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    overwrite: bool,
    enhanced: Callable[[Reader], Blocks],
) -> Enhanced:
    """Process a file block by block and write the result. The target appears only when it is complete.

    Args:
        source: the file to read.
        target: the file to write.
        overwrite: whether ``target`` may already exist.
        enhanced: takes the opened source and yields blocks ``(frames, channels)`` float32.

    Raises:
        OSError: a file or folder is missing or not accessible.
        FileExistsError: ``target`` exists and ``overwrite`` is false.
        AudioError: ``source`` is not usable audio, ``target`` can't hold it, both are the same file, or ``enhanced``
            raises a FloatingPointError.
    """
    source, target = Path(source), Path(target)
    began = time.perf_counter()
    with open_audio(source) as reader:
        if target.exists() and target.samefile(source):
            raise AudioError(f"{target}: is the input itself, which is never overwritten")
        target_format = reader.format.renamed(target, source if is_regular(source) else None)
        with new_file(target, target_format, overwrite) as write:
            frames = write_all(write, enhanced(reader), reader.name)
        reader.drain()
    return Enhanced(frames / reader.format.sample_rate, time.perf_counter() - began)


@contextmanager
def new_file(target: Path, target_format: AudioFormat, overwrite: bool) -> Iterator[Write]:
    """Open a new file with :func:`lite_rtse_ext.audio.io.writer` and return the function that writes its blocks.

    Raises:
        FileExistsError: ``target`` exists and ``overwrite`` is false.
        AudioError: the file would grow beyond the limit of its format.
        TypeError: ``overwrite`` is neither True nor False.
    """
    if not switch(overwrite, "overwrite") and target.exists():
        raise FileExistsError(errno.EEXIST, "exists already", str(target))
    target_format.check_size(target, target_format.exact_frames)
    frames = 0
    with writer(target, target_format) as file:  # opened before the work, so that errors show early

        def write(block: NDArray[np.float32]) -> None:
            nonlocal frames
            frames += len(block)
            target_format.check_size(target, frames)
            for part in split(block):
                file.write(part)

        yield write


def write_all(write: Write, blocks: Blocks, name: str) -> int:
    """Write all blocks and return their number of frames.

    Raises:
        AudioError: the blocks raised a FloatingPointError; the message begins with ``name``.
    """
    frames = 0
    try:
        for block in blocks:
            write(block)
            frames += len(block)
    except FloatingPointError as error:
        raise AudioError(f"{name}: {error}") from error
    return frames
