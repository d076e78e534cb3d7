"""Which files ``lite-rtse enhance`` reads and which it writes, settled before any work is done."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One file to enhance."""

    source: Path
    target: Path


class JobError(ValueError):
    """Input and output that don't go together; the message says why."""


def plan(source: Path, target: Path, suffixes: Iterable[str]) -> list[Job]:
    """The files to enhance and where each goes.

    A file goes to ``target``, or into it where that is a folder. A folder's audio files, sub-folders included, go to
    the same places below ``target``; if that lies in ``source``, the files in it are no inputs.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        JobError: input and output are the same, or the folder has no audio.
    """
    if not source.exists():
        raise FileNotFoundError(errno.ENOENT, "no such file or folder", str(source))
    if source.is_dir():
        jobs = _plan_folder(source, target, frozenset(suffixes))
    else:
        jobs = [Job(source, target / source.name if target.is_dir() else target)]
    _refuse_overwriting_inputs(jobs)
    return jobs


def split_existing(jobs: list[Job]) -> tuple[list[Job], list[Job]]:
    """Jobs whose output doesn't exist yet, and those whose output does. An output that exists is complete."""
    missing = [job for job in jobs if not job.target.exists()]
    existing = [job for job in jobs if job.target.exists()]
    return missing, existing


def _plan_folder(source: Path, target: Path, suffixes: frozenset[str]) -> list[Job]:
    if target.exists() and not target.is_dir():
        raise JobError(f"{target}: must be a folder, as the input {source} is one")
    if target.resolve() == source.resolve():
        raise JobError(f"{target}: is the input folder itself, which is never overwritten")
    outputs = target.resolve()
    nested = outputs.is_relative_to(source.resolve())
    files = [
        path
        for path in sorted(source.rglob("*"))
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not (nested and path.resolve().is_relative_to(outputs))
    ]
    if not files:
        raise JobError(f"{source}: no audio files in this folder (looked for {' '.join(sorted(suffixes))})")
    return [Job(path, target / path.relative_to(source)) for path in files]


def _refuse_overwriting_inputs(jobs: list[Job]) -> None:
    inputs = {_identity(job.source): job.source for job in jobs}
    for job in jobs:
        same = job.target.exists() and inputs.get(_identity(job.target))
        if same:
            raise JobError(f"{job.target}: is the input {same} itself, which is never overwritten")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()  # the same for every hard or symbolic link to a file
    return status.st_dev, status.st_ino
