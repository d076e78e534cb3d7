"""``lite-rtse enhance``."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lite_rtse_ext.cli.errors import describe, one_line
from lite_rtse_ext.cli.jobs import Job, JobError, plan, split_existing

if TYPE_CHECKING:
    from lite_rtse_ext.audio import Enhanced
    from lite_rtse_ext.model import LiteRTSE

CLEAR_LINE = "\033[1G\033[K"  # click takes it out again where stderr is no terminal
TICKS_PER_SECOND = 100  # the progress bar counts whole numbers


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    envvar="LITE_RTSE_CHECKPOINT",
    show_envvar=True,
    help="Trained parameters, safetensors or PyTorch. Needed: none come with this version.",
)
@click.option("--force", is_flag=True, help="Replace outputs that exist already. Inputs are never replaced.")
@click.option("--skip-existing", is_flag=True, help="Leave outputs that exist already, e.g. to resume a run.")
@click.option("--device", metavar="NAME", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default what PyTorch picks.")
def enhance(
    source: Path,
    target: Path,
    checkpoint: Path | None,
    force: bool,
    skip_existing: bool,
    device: str,
    threads: int | None,
) -> None:
    """Take the noise out of the speech in IN and write it to OUT.

    IN is an audio file (wav, flac, ogg, opus, mp3, aiff, caf, au, w64) or a folder, whose audio files are all enhanced,
    sub-folders included, into the same places below OUT. Every output has the sample rate, channels and length of its
    input, and its format too unless OUT has another suffix.

    Every channel is enhanced by itself, at 16 kHz: what a file holds above 8 kHz is not in the output. Files may be
    hours long: the work is done in segments of 16 seconds, and each minute of a channel adds about 9 MB of memory.

    A file of a folder that fails is reported, the others go on, and the exit code is 1. An output appears under its
    name only once it is complete, so an interrupted run is resumed with --skip-existing.

    The real-time factor (RTF) is the time taken over the length of the audio: 0.1 is ten times faster than real time.

    \b
    lite-rtse enhance noisy.wav clean.wav --checkpoint model.safetensors
    lite-rtse enhance recordings/ cleaned/ --checkpoint model.safetensors --skip-existing
    """
    with one_line():
        if force and skip_existing:
            raise JobError("--force and --skip-existing exclude each other")
        jobs, skipped = _settle(source, target, force, skip_existing)
        if skipped:
            click.echo(f"{skipped} skipped, as the output exists")
        if not jobs:
            return
        model = _load(checkpoint, device, threads)
        done = _run(model, jobs, force)
    if done:
        click.echo(_summary(done))
    if len(done) < len(jobs):
        raise click.exceptions.Exit(1)


def _settle(source: Path, target: Path, force: bool, skip_existing: bool) -> tuple[list[Job], int]:
    """The jobs to do, and how many are left out as their outputs exist."""
    from lite_rtse_ext.audio.io import CONTAINERS

    jobs = plan(source, target, CONTAINERS)
    missing, existing = split_existing(jobs)
    if force or not existing:
        return jobs, 0
    if skip_existing:
        return missing, len(existing)
    many = f" and {len(existing) - 1} more exist" if len(existing) > 1 else ": exists"
    raise JobError(f"{existing[0].target}{many} already; --force replaces outputs, --skip-existing leaves them")


def _load(checkpoint: Path | None, device: str, threads: int | None) -> LiteRTSE:
    if checkpoint is None:
        raise JobError("no trained parameters come with this version: give --checkpoint PATH")
    import torch

    from lite_rtse_ext import _native
    from lite_rtse_ext.model import LiteRTSE

    _native.require()
    if threads:
        torch.set_num_threads(threads)
    _check_device(device)
    return LiteRTSE.from_checkpoint(checkpoint).to(device).eval()


def _check_device(name: str) -> None:
    import torch

    from lite_rtse_ext import _native

    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise JobError(f"--device {name}: must be cpu, cuda or cuda:N")
    if name == "cpu":
        return
    if not _native.has_cuda():
        raise JobError(f"--device {name}: this build of lite-rtse-ext has no CUDA kernels")
    if not torch.cuda.is_available():
        raise JobError(f"--device {name}: PyTorch finds no usable CUDA GPU on this machine")


def _run(model: LiteRTSE, jobs: list[Job], force: bool) -> list[Enhanced]:
    """Does the jobs; those that fail are reported and missing in the result."""
    from lite_rtse_ext.audio import AudioError, enhance_file

    done = []
    length = sum(_header_ticks(job.source) for job in jobs)
    with click.progressbar(length=length, label="enhancing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        seconds = 0.0

        def advance(more: float) -> None:
            nonlocal seconds
            seconds += more
            bar.update(round(seconds * TICKS_PER_SECOND) - bar.pos)

        for job in jobs:
            try:
                _make_folder(job.target.parent)
                done.append(enhance_file(model, job.source, job.target, overwrite=force, progress=advance))
            except (OSError, ValueError, RuntimeError, MemoryError) as error:
                named = isinstance(error, (AudioError, OSError))  # their messages begin with the path they are about
                message = describe(error) if named else f"{job.source}: {describe(error)}"
                click.echo(f"{CLEAR_LINE}Error: {message}", err=True)
    return done


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


def _summary(done: list[Enhanced]) -> str:
    audio = sum(each.audio_seconds for each in done)
    elapsed = sum(each.elapsed_seconds for each in done)
    files = "1 file" if len(done) == 1 else f"{len(done)} files"
    return f"{files}, {audio:.1f} s of audio in {elapsed:.1f} s, RTF {elapsed / audio:.3f}"
