"""From one audio file to another: what is done with the samples is the caller's."""

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

Blocks = Iterable[NDArray[np.float32]]
Write = Callable[[NDArray[np.float32]], object]


@dataclass(frozen=True)
class Enhanced:
    """What was done: ``audio_seconds`` of audio, however many channels, in ``elapsed_seconds``, reading and writing
    included."""

    audio_seconds: float
    elapsed_seconds: float

    @property
    def real_time_factor(self) -> float:
        """Time it took over length of the audio (RTF): below 1 is faster than real time."""
        return self.elapsed_seconds / self.audio_seconds


def file_to_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    overwrite: bool,
    enhanced: Callable[[Reader], Blocks],
) -> Enhanced:
    """Write the blocks that ``enhanced`` makes of a file; the target appears complete or not at all."""
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
    """What writes blocks to a new file: :func:`lite_rtse_ext.audio.io.writer`, which replaces nothing unless it may,
    and which refuses to grow beyond what its format can hold."""
    if target.exists() and not overwrite:
        raise FileExistsError(errno.EEXIST, "exists already", str(target))
    target_format.check_size(target, target_format.exact_frames)
    frames = 0
    with writer(target, target_format) as file:  # before the work: here it shows whether it can be written at all

        def write(block: NDArray[np.float32]) -> None:
            nonlocal frames
            frames += len(block)
            target_format.check_size(target, frames)
            for part in split(block):
                file.write(part)

        yield write


def write_all(write: Write, blocks: Blocks, name: str) -> int:
    """Writes block after block; returns how many frames that were."""
    frames = 0
    try:
        for block in blocks:
            write(block)
            frames += len(block)
    except FloatingPointError as error:
        raise AudioError(f"{name}: {error}") from error
    return frames
