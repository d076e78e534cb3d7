"""Enhancement of files and pipes with the streaming engine: in constant memory, on one core, without torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import AudioFormat, Reader, open_audio, open_pipe
from lite_rtse_ext.audio.pipe import PipeWriter, Source
from lite_rtse_ext.enhance.conversion import Enhanced, Write, file_to_file, new_file, write_all

if TYPE_CHECKING:
    from lite_rtse_ext.stream import Network

Progress = Callable[[float], None]
Blocks = Iterator[NDArray[np.float32]]


def stream_file(
    network: Network,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Enhanced:
    """Enhance an audio file and write the result to another one, in constant memory, on one core, without torch.

    Args:
        network: the weights.
        source, target, overwrite, progress: as in :func:`lite_rtse_ext.enhance.enhance_file`.
        options: options of :func:`lite_rtse_ext.stream.enhance_blocks`: ``link_channels``, ``wet``,
            ``attenuation_limit_db``, ``extra_reduction_db``, ``high_pass``.

    Returns:
        The duration of the audio and the elapsed time.

    Raises:
        OSError, FileExistsError, AudioError: as :func:`lite_rtse_ext.enhance.enhance_file`.
    """

    return file_to_file(source, target, overwrite, lambda reader: _enhanced(network, reader, progress, options))


def stream_pipe(
    network: Network,
    source: Source | Path,
    target: BinaryIO | Path,
    *,
    raw: AudioFormat | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    name: str = "-",
    **options: Any,
) -> Enhanced:
    """Enhance the audio in a pipe while it arrives. Either the source or the target may be a file instead.

    The function writes and flushes all output that is available before it waits for more input.

    Args:
        network: the weights.
        source: a pipe's reading end, or a file.
        target: a pipe's writing end, or a file. A file appears only when it is complete.
        raw: format of samples without a header in the pipes. None: the source has a header, and the output is a WAV. If
            the source is a file, only the ``subtype`` of ``raw`` is used. A source in another format than WAV is read
            completely before the enhancement starts.
        overwrite, progress, options: as in :func:`stream_file`.
        name: the source's name in messages, if it is a pipe.

    Returns:
        The duration of the audio and the elapsed time.

    Raises:
        OSError, FileExistsError, AudioError: as :func:`stream_file`. BrokenPipeError if the target's reader has closed
            the pipe.
        TypeError: both sides are files.
    """
    if isinstance(source, Path) and isinstance(target, Path):
        raise TypeError("source or target must be a pipe: see stream_file")
    began = time.perf_counter()
    with ExitStack() as stack:
        if isinstance(source, Path):
            reader = stack.enter_context(open_audio(source))
        else:
            reader = open_pipe(source, raw, name, stack)
        with _writing(target, reader.format, raw, overwrite) as write:
            frames = write_all(write, _enhanced(network, reader, progress, options), reader.name)
        reader.drain()
    return Enhanced(frames / reader.format.sample_rate, time.perf_counter() - began)


@contextmanager
def _writing(target: BinaryIO | Path, found: AudioFormat, raw: AudioFormat | None, overwrite: bool) -> Iterator[Write]:
    if isinstance(target, Path):
        with new_file(target, found.renamed(target, None), overwrite) as write:
            yield write
    else:
        yield PipeWriter(target, found, raw.subtype if raw else None).write


def _enhanced(network: Network, reader: Reader, progress: Progress | None, options: dict[str, Any]) -> Blocks:
    from lite_rtse_ext.stream import enhance_blocks

    rate = reader.format.sample_rate
    for block in enhance_blocks(network, reader.blocks(), rate, reader.format.channels, **options):
        yield block
        if progress:
            progress(len(block) / rate)
