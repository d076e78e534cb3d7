"""Converts many files to prepared FLAC, several at a time. Damaged files are reported, or raise an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.prepare.convert import decode, decoded_frames, is_complete, read_back, write_flac
from lite_rtse_ext.data.prepare.faults import silence
from lite_rtse_ext.utils.workers import Lost, run_in_order

__all__ = ["Conversion", "convert_all", "is_current"]

_REPORT_EVERY = 1000


@dataclass(frozen=True)
class Conversion:
    """A file to convert, and the path of the result."""

    source: Path
    target: Path


def convert_all(
    jobs: Sequence[Conversion], *, refuse: bool, report: Callable[[str], None], workers: int | None = None
) -> list[int | None]:
    """Convert the files that are not converted yet, in several processes.

    If a file crashes its process, only this file is lost.

    Args:
        jobs: the files.
        refuse: raise an error at a damaged or silent file. Otherwise the file is reported and left out.
        report: function that is called with one line about each file left out, and after every 1000 files.
        workers: number of files at a time. The default is the number of CPUs.

    Returns:
        The length of each result in samples at 16 kHz, or None for a file that was left out.

    Raises:
        OSError: a result can't be written, or a file can't be read and ``refuse`` is set.
        AudioError: a file is damaged or silent, and ``refuse`` is set.
    """
    lengths: list[int | None] = []
    for job, result in zip(jobs, run_in_order(_attempt, jobs, workers), strict=True):
        if isinstance(result, Lost):
            result = AudioError(f"{job.source}: {result.reason}")
        if isinstance(result, int):
            lengths.append(result)
        elif refuse:
            raise result
        else:
            report(f"left out: {result}")
            lengths.append(None)
        if len(lengths) % _REPORT_EVERY == 0:
            report(f"{len(lengths)} of {len(jobs)} files")
    return lengths


def is_current(source: Path, target: Path, frames: int | None) -> bool:
    """Whether a target file exists with the expected length, and is not older than its source.

    Args:
        source: the file that was converted.
        target: the prepared file.
        frames: the expected length in samples at 16 kHz. If it is None, the result is False.
    """
    return frames is not None and is_complete(target, frames) and target.stat().st_mtime_ns >= source.stat().st_mtime_ns


def _attempt(job: Conversion) -> int | AudioError | OSError:
    try:
        return _convert(job)
    except AudioError as error:
        return error
    except OSError as error:
        if error.filename is not None and Path(error.filename) != job.source:
            raise  # for example a full disk, which is not a fault of the file
        return error


def _convert(job: Conversion) -> int:
    current = is_current(job.source, job.target, decoded_frames(job.source))
    samples = read_back(job.target) if current else decode(job.source)
    fault = silence(samples)
    if fault is not None:
        raise AudioError(f"{job.source}: {fault}")
    if not current:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_flac(job.target, samples)
    return len(samples)
