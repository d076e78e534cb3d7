"""Files through the network, several at a time: progress, errors, and a summary."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lite_rtse_ext.cli.errors import describe
from lite_rtse_ext.cli.jobs import Job

if TYPE_CHECKING:
    from lite_rtse_ext.audio import Enhanced

Enhance = Callable[[Job, Callable[[float], None]], "Enhanced"]
"""Does a job, and calls back now and then with the seconds of audio that it has finished since."""

CLEAR_LINE = "\033[1G\033[K"  # click takes it out again where stderr is no terminal
TICKS_PER_SECOND = 100  # the progress bar counts whole numbers


class _StoppedError(Exception):
    """Ends a job from within, so that it takes its half-written file away."""


def run_jobs(enhance: Enhance, jobs: list[Job], workers: int | None) -> int:
    """Does the jobs, ``workers`` at a time, by default one a core, and says what was done; returns how many failed."""
    began = time.perf_counter()
    length = sum(_header_ticks(job.source) for job in jobs)
    with click.progressbar(length=length, label="enhancing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        lock, stop = threading.Lock(), threading.Event()
        seconds = 0.0

        def advance(more: float) -> None:
            nonlocal seconds
            if stop.is_set():
                raise _StoppedError
            with lock:
                seconds += more
                bar.update(round(seconds * TICKS_PER_SECOND) - bar.pos)

        def attempt(job: Job) -> Enhanced | str:
            try:
                _make_folder(job.target.parent)
                return enhance(job, advance)
            except (OSError, ValueError, RuntimeError, MemoryError) as error:
                return _about(job, error)

        done: list[Enhanced] = []
        with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
            futures = [pool.submit(attempt, job) for job in jobs]
            try:
                for future in futures:
                    result = future.result()
                    if isinstance(result, str):
                        with lock:
                            click.echo(f"{CLEAR_LINE}Error: {result}", err=True)
                    else:
                        done.append(result)
            except BaseException:  # Ctrl-C, mostly
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
    if done:
        click.echo(_summary([each.audio_seconds for each in done], time.perf_counter() - began))
    return len(jobs) - len(done)


def _about(job: Job, error: Exception) -> str:
    from lite_rtse_ext.audio import AudioError

    named = isinstance(error, (AudioError, OSError))  # their messages begin with the path they are about
    return describe(error) if named else f"{job.source}: {describe(error)}"


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path)) from error


def _header_ticks(path: Path) -> int:
    """Length of a file for the progress bar; 0 if it can't be told, which is reported when the file's turn comes."""
    from lite_rtse_ext.audio import read_format

    try:
        return round(read_format(path).seconds * TICKS_PER_SECOND)
    except (OSError, ValueError):
        return 0


def _summary(audio_seconds: list[float], elapsed: float) -> str:
    audio = sum(audio_seconds)
    files = "1 file" if len(audio_seconds) == 1 else f"{len(audio_seconds)} files"
    return f"{files}, {audio:.1f} s of audio in {elapsed:.1f} s, RTF {elapsed / audio:.3f}"
