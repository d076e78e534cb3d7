"""Which files ``lite-rtse enhance`` reads and which it writes, settled before any work is done."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from lite_rtse_ext.audio.recordings import find_recordings
from lite_rtse_ext.utils.atomic_file import kind_of, replaceable


@dataclass(frozen=True)
class Job:
    """One file to enhance; ``overwrite`` tells whether the target may exist already."""

    source: Path
    target: Path
    overwrite: bool = False


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Args:
        jobs: the files to enhance.
        remarks: what else was found and what is not done, a line each.
        errors: sub-folders that can't be read.
    """

    jobs: list[Job]
    remarks: list[str] = field(default_factory=list)
    errors: list[OSError] = field(default_factory=list)


class JobError(ValueError):
    """Input and output that don't go together; the message says why."""


def plan(
    source: Path,
    target: Path,
    read: Container[str],
    written: Container[str],
    why_not: Callable[[Path], str | None] = lambda path: None,
) -> Plan:
    """The files to enhance and where each goes.

    A file goes to ``target``, or into it where that is a folder. A folder's audio files, sub-folders included, go to
    the same places below ``target``; if that lies in ``source``, the files in it are no inputs. A file of a kind that
    can't be written goes to its name with ``.wav`` behind it.

    Args:
        source: a file or a folder.
        target: the same.
        read: the suffixes of files that can be read.
        written: the suffixes of files that can be written.
        why_not: why a file of a folder is left out though its suffix can be read; None if it is not.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        OSError: an output has the name of something that is no regular file.
        JobError: input and output are the same, two outputs are, or the folder has no audio.
    """
    if not source.exists():
        raise FileNotFoundError(errno.ENOENT, "no such file or folder", str(source))
    if source.is_dir():
        settled = _plan_folder(source, target, read, written, why_not)
    else:
        settled = Plan([Job(source, target / _output_name(source, written) if target.is_dir() else target)])
    for job in settled.jobs:
        if os.path.exists(job.target):
            replaceable(job.target)
    _refuse_overwriting_inputs(settled.jobs)
    _refuse_writing_twice(settled.jobs)
    return settled


def permit(jobs: list[Job], force: bool, skip_existing: bool) -> tuple[list[Job], int]:
    """The jobs that are left to do, given what exists, and how many are not.

    An output that exists is complete. A file of no bytes is none: no audio file is that short.

    Raises:
        JobError: outputs exist, and neither ``force`` nor ``skip_existing`` says what is to become of them.
    """
    existing = [job for job in jobs if os.path.exists(job.target)]
    if force:
        return [replace(job, overwrite=True) for job in jobs], 0
    if existing and not skip_existing:
        many = f" and {len(existing) - 1} more exist" if len(existing) > 1 else ": exists"
        raise JobError(f"{existing[0].target}{many} already; --force replaces outputs, --skip-existing leaves them")
    complete = {job for job in existing if job.target.stat().st_size}
    empty = set(existing) - complete
    return [replace(job, overwrite=job in empty) for job in jobs if job not in complete], len(complete)


def _plan_folder(
    source: Path,
    target: Path,
    read: Container[str],
    written: Container[str],
    why_not: Callable[[Path], str | None],
) -> Plan:
    if target.exists() and not target.is_dir():
        raise JobError(f"{target}: expected a folder, as {source} is one, got {kind_of(target)}")
    if target.resolve() == source.resolve():
        raise JobError(f"{target}: is the input folder itself, which is never overwritten")
    found = find_recordings(source, read, target)
    found.leave_out(why_not)
    remarks = found.remarks()
    if not found.files:
        if found.errors:
            raise found.errors[0]
        raise JobError(f"{source}: no audio files in this folder" + "".join(f"; {line}" for line in remarks))
    jobs = [Job(path, target / path.relative_to(source).with_name(_output_name(path, written))) for path in found.files]
    return Plan(jobs, remarks, found.errors)


def _output_name(source: Path, written: Container[str]) -> str:
    return source.name if source.suffix.lower() in written else f"{source.name}.wav"


def _refuse_overwriting_inputs(jobs: Iterable[Job]) -> None:
    inputs = {identity: job.source for job in jobs if (identity := _identity(job.source))}
    for job in jobs:
        identity = _identity(job.target)
        if identity in inputs:
            same = inputs[identity]
            raise JobError(f"{job.target}: is the input {same} itself, which is never overwritten")


def _refuse_writing_twice(jobs: Iterable[Job]) -> None:
    """Refuses two sources that go to one name, be it by a link."""
    sources: dict[str, Path] = {}
    for job in jobs:
        first = sources.setdefault(os.path.realpath(job.target), job.source)
        if first is not job.source:
            raise JobError(f"{job.target}: expected one input for an output, got {first} and {job.source}")


def _identity(path: Path) -> tuple[int, int] | None:
    """What is the same for every hard or symbolic link to a file; nothing where it can't be told."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
