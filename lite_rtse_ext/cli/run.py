"""Files through the network, several at a time: progress, errors, and a summary."""

from __future__ import annotations

import errno
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lite_rtse_ext.cli.errors import describe, printable
from lite_rtse_ext.cli.jobs import Job
from lite_rtse_ext.cli.notes import CLEAR_LINE
from lite_rtse_ext.utils.atomic_file import kind_of
from lite_rtse_ext.utils.cores import cores
from lite_rtse_ext.utils.new_folder import NewFolders

if TYPE_CHECKING:
    from lite_rtse_ext.enhance import Enhanced

Enhance = Callable[[Job, Callable[[float], None]], "Enhanced"]
"""Does a job, and calls back now and then with the seconds of audio that it has finished since."""

TICKS_PER_SECOND = 100  # the progress bar counts whole numbers


class _StoppedError(Exception):
    """Ends a job from within, so that it takes its half-written file away."""


@dataclass
class _Share:
    """A job's part of the progress bar: the length that its file's header tells, whatever comes out of it."""

    advance_bar: Callable[[int], None]
    ticks: int
    seconds: float = 0.0
    shown: int = 0

    def add(self, seconds: float) -> None:
        """Counts audio that is finished."""
        self.seconds += seconds
        self._show(min(round(self.seconds * TICKS_PER_SECOND), self.ticks))

    def complete(self) -> None:
        """Fills what is left: the job has ended."""
        self._show(self.ticks)

    def _show(self, ticks: int) -> None:
        self.advance_bar(ticks - self.shown)
        self.shown = ticks


def run_jobs(enhance: Enhance, jobs: list[Job], workers: int | None) -> int:
    """Does the jobs, ``workers`` at a time, by default one a core, and says what was done; returns how many failed.

    Folders that were created for outputs and are empty in the end are deleted.
    """
    folders = NewFolders()
    try:
        return _run_jobs(enhance, jobs, workers, folders)
    finally:
        folders.delete_empty()


def _run_jobs(enhance: Enhance, jobs: list[Job], workers: int | None, folders: NewFolders) -> int:
    began = time.perf_counter()
    ticks = [_header_ticks(job.source) for job in jobs]
    with click.progressbar(
        length=sum(ticks), label="enhancing", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        lock, stop = threading.Lock(), threading.Event()

        def advance(more: int) -> None:
            if stop.is_set():
                raise _StoppedError
            with lock:
                bar.update(more)

        def attempt(job: Job, ticks: int) -> Enhanced | str:
            share = _Share(advance, ticks)
            try:
                _make_folder(job.target.parent, folders)
                result: Enhanced | str = enhance(job, share.add)
            except (OSError, ValueError, RuntimeError, MemoryError) as error:
                result = _about(job, error)
            share.complete()
            return result

        done: list[Enhanced] = []
        with ThreadPoolExecutor(workers or cores()) as pool:
            futures = [pool.submit(attempt, *each) for each in zip(jobs, ticks, strict=True)]
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

    # The messages of these begin with the path that they are about.
    named = isinstance(error, AudioError) or (isinstance(error, OSError) and error.filename is not None)
    return describe(error) if named else printable(f"{job.source}: {describe(error)}")


def _make_folder(path: Path, folders: NewFolders) -> None:
    try:
        folders.create(path)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"expected a folder, got {kind_of(path)}", str(path)) from error


def _header_ticks(path: Path) -> int:
    """Length of a file for the progress bar; 0 if it can't be told, which is reported when the file's turn comes, or if
    its header does not tell."""
    from lite_rtse_ext.audio import read_format

    try:
        return round((read_format(path).seconds or 0) * TICKS_PER_SECOND)
    except (OSError, ValueError):
        return 0


def _summary(audio_seconds: list[float], elapsed: float) -> str:
    audio = sum(audio_seconds)
    files = "1 file" if len(audio_seconds) == 1 else f"{len(audio_seconds)} files"
    factor = f", RTF {elapsed / audio:.3f}" if audio else ""
    return f"{files}, {audio:.1f} s of audio in {elapsed:.1f} s{factor}"
