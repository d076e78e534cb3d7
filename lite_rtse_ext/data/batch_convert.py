"""Many files into prepared FLAC, several at a time; what is damaged is named, then left out or refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lite_rtse_ext.audio.io import AudioError, read_format
from lite_rtse_ext.audio.resample import length_at
from lite_rtse_ext.audio.stft import SAMPLE_RATE_HZ
from lite_rtse_ext.data.convert import decode, is_complete, write_flac

__all__ = ["Conversion", "convert_all"]

_REPORT_EVERY = 1000


@dataclass(frozen=True)
class Conversion:
    """A file to convert, and where the result goes."""

    source: Path
    target: Path


def convert_all(
    jobs: Sequence[Conversion], *, refuse: bool, report: Callable[[str], None], workers: int | None = None
) -> list[int | None]:
    """Convert files that aren't converted yet.

    Args:
        jobs: the files.
        refuse: raise what a damaged file raises; otherwise it is reported and left out.
        report: is called with a line about each damaged file, and now and then about progress.
        workers: files at a time; by default the number of CPUs.

    Returns:
        Length of each result in samples, or nothing for a damaged file.

    Raises:
        OSError: a result can't be written; or, if damaged files are refused, one can't be read.
        AudioError: a damaged file, if those are refused.
    """
    lengths: list[int | None] = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:  # libsndfile and soxr work outside Python's lock
        results = pool.map(_attempt, jobs)
        try:
            for number, (length, error) in enumerate(results, 1):
                if error is not None and refuse:
                    raise error
                if error is not None:
                    report(f"left out: {error}")
                lengths.append(length)
                if number % _REPORT_EVERY == 0:
                    report(f"{number} of {len(jobs)} files")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return lengths


def _attempt(job: Conversion) -> tuple[int | None, Exception | None]:
    try:
        return _convert(job), None
    except AudioError as error:
        return None, error
    except OSError as error:
        if error.filename is not None and Path(error.filename) != job.source:
            raise  # the disk is full, say: that is no fault of the file
        return None, error


def _convert(job: Conversion) -> int:
    source = read_format(job.source)
    if source.frames is not None:  # what states no length is converted again
        length = length_at(source.frames, source.sample_rate, SAMPLE_RATE_HZ)
        if is_complete(job.target, length):
            return length
    samples = decode(job.source)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    write_flac(job.target, samples)
    return len(samples)
