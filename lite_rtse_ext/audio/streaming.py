"""Files and pipes through the streaming engine: constant memory, one core, no torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.convert import Enhanced, Write, file_to_file, new_file, write_all
from lite_rtse_ext.audio.io import BLOCK_FRAMES, AudioFormat, read_blocks, read_format
from lite_rtse_ext.audio.pipe import PipeReader, PipeWriter, Source

if TYPE_CHECKING:
    from lite_rtse_ext.stream import Network

Progress = Callable[[float], None]
Blocks = Iterator[NDArray[np.float32]]

_BLOCK_FRAMES = BLOCK_FRAMES // 2  # what a block gives may be longer than it by a frame and what soxr held back


def stream_file(
    network: Network,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Enhanced:
    """Enhance an audio file: :func:`lite_rtse_ext.audio.enhance_file` in constant memory, on one core, without torch.

    Args:
        network: the weights.
        source, target, overwrite, progress: as there.
        options: for :class:`lite_rtse_ext.stream.Streamer`: ``wet``, ``attenuation_limit_db``, ``resampling``.

    Raises:
        OSError, FileExistsError, AudioError: as there.
    """

    def enhanced(source: Path, audio_format: AudioFormat) -> Blocks:
        return _enhanced(network, read_blocks(source, _BLOCK_FRAMES), audio_format, progress, options)

    return file_to_file(source, target, overwrite, enhanced)


def stream_pipe(
    network: Network,
    source: Source | Path,
    target: BinaryIO | Path,
    *,
    raw: AudioFormat | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Enhanced:
    """Enhance what comes through a pipe while it comes; one side may be a file instead.

    What can be known of a signal is written, and flushed, before more of it is waited for.

    Args:
        network: the weights.
        source: a pipe's reading end, or a file.
        target: a pipe's writing end, or a file, which then appears complete or not at all.
        raw: what bare samples in the pipes are; None for WAV. Of a file, only its ``subtype`` counts.
        overwrite, progress, options: as :func:`stream_file`.

    Raises:
        OSError, FileExistsError, AudioError: as :func:`stream_file`; also a BrokenPipeError where the reader is gone.
        TypeError: both sides are files.
    """
    began = time.perf_counter()
    reader: _File | PipeReader
    if isinstance(source, Path):
        if isinstance(target, Path):
            raise TypeError("source or target must be a pipe: see stream_file")
        reader = _File(source)
    else:
        reader = PipeReader(source, raw)
    found = reader.format
    with _writing(target, found, raw, overwrite) as write:
        frames = write_all(write, _enhanced(network, reader.blocks(), found, progress, options), reader.name)
    reader.drain()
    return Enhanced(frames / found.sample_rate, time.perf_counter() - began)


class _File:
    """A file read as a pipe is."""

    def __init__(self, path: Path) -> None:
        self._path, self.name, self.format = path, str(path), read_format(path)

    def blocks(self) -> Blocks:
        return read_blocks(self._path, _BLOCK_FRAMES)

    def drain(self) -> None:
        pass


@contextmanager
def _writing(target: BinaryIO | Path, found: AudioFormat, raw: AudioFormat | None, overwrite: bool) -> Iterator[Write]:
    if isinstance(target, Path):
        with new_file(target, found.renamed(target, Path("-.wav")), overwrite) as write:
            yield write
    else:
        yield PipeWriter(target, found, raw.subtype if raw else None).write


def _enhanced(
    network: Network, blocks: Blocks, audio_format: AudioFormat, progress: Progress | None, options: dict[str, Any]
) -> Blocks:
    from lite_rtse_ext.stream import enhance_blocks

    rate = audio_format.sample_rate
    for block in enhance_blocks(network, blocks, rate, audio_format.channels, **options):
        yield block
        if progress:
            progress(len(block) / rate)
