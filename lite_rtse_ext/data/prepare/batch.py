"""Many files into prepared FLAC, several at a time; what is damaged is named, then left out or refused."""

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
    """A file to convert, and where the result goes."""

    source: Path
    target: Path


def convert_all(
    jobs: Sequence[Conversion], *, refuse: bool, report: Callable[[str], None], workers: int | None = None
) -> list[int | None]:
    """Convert files that aren't converted yet, in processes: a file that ends its process is lost alone.

    Args:
        jobs: the files.
        refuse: raise what a damaged or silent file raises; otherwise it is reported and left out.
        report: is called with a line about each file left out, and now and then about progress.
        workers: files at a time; by default the number of CPUs.

    Returns:
        Length of each result in samples, or nothing for a file left out.

    Raises:
        OSError: a result can't be written; or, if damaged files are refused, one can't be read.
        AudioError: a damaged or silent file, if those are refused.
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
    """Whether a file of a known length was converted already, and has not changed since."""
    return frames is not None and is_complete(target, frames) and target.stat().st_mtime_ns >= source.stat().st_mtime_ns


def _attempt(job: Conversion) -> int | AudioError | OSError:
    try:
        return _convert(job)
    except AudioError as error:
        return error
    except OSError as error:
        if error.filename is not None and Path(error.filename) != job.source:
            raise  # the disk is full, say: that is no fault of the file
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
