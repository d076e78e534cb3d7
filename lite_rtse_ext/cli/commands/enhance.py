"""``lite-rtse enhance``."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import click

from lite_rtse_ext.cli.errors import describe, printable
from lite_rtse_ext.cli.jobs import JobError, Plan, permit, plan
from lite_rtse_ext.cli.notes import told
from lite_rtse_ext.cli.options import NumberRange, link_option
from lite_rtse_ext.cli.pipes import RAW_TYPES, is_pipe, is_stream, raw_format, run_pipe
from lite_rtse_ext.cli.run import Enhance, run_jobs
from lite_rtse_ext.cli.weights import checkpoint_option, chosen, extra_reduction_option, has_engine, network
from lite_rtse_ext.utils.atomic_file import replaceable
from lite_rtse_ext.utils.extras import require_torch
from lite_rtse_ext.utils.path_name import PathName


@click.command()
@click.argument("source", metavar="IN", type=PathName())
@click.argument("target", metavar="OUT", type=PathName())
@checkpoint_option
@click.option("--force", is_flag=True, help="Replace outputs that exist already. Inputs are never replaced.")
@click.option("--skip-existing", is_flag=True, help="Leave outputs that exist already, e.g. to resume a run.")
@click.option(
    "--attenuation-limit",
    metavar="DB",
    type=NumberRange(min=0),
    help="The most by which noise is turned down; inf: no limit.",
)
@extra_reduction_option
@click.option(
    "--wet", metavar="SHARE", type=NumberRange(0, 1), default=1.0, help="Share of the enhanced signal, 0 to 1."
)
@click.option("--no-high-pass", is_flag=True, help="Leave a constant offset of the input to the network.")
@link_option
@click.option("--raw", type=click.Choice(RAW_TYPES), help="What goes through - has no header: little-endian samples.")
@click.option("--rate", metavar="HZ", type=int, help="Sample rate of raw input.")
@click.option("--channels", metavar="N", type=int, help="Channels of raw input; by default 1.")
@click.option("--device", metavar="NAME", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(min=1), help="Files at a time; by default as many as there are cores.")
def enhance(
    source: Path,
    target: Path,
    checkpoint: Path | None,
    force: bool,
    skip_existing: bool,
    attenuation_limit: float | None,
    extra_reduction: float,
    wet: float,
    no_high_pass: bool,
    link_channels: bool,
    raw: str | None,
    rate: int | None,
    channels: int | None,
    device: str,
    threads: int | None,
) -> None:
    """Take the noise out of the speech in IN and write it to OUT.

    IN is an audio file (wav, flac, ogg, opus, mp3, aiff, caf, au, w64) or a folder, whose audio files are all enhanced,
    sub-folders included, into the same places below OUT. With the package av, m4a, webm, wma and the sound of videos
    are read too. Every output has the sample rate, channels and length of its input, and its format too unless OUT has
    another suffix. A sample type that can't be written there is told, with the nearest that is written instead.

    Every channel is enhanced by itself, or with --link-channels all with one gain. The network hears what lies below
    8 kHz. What a file holds above passes with the gain of 6 to 8 kHz. Files may be of any length, none is ever in
    memory as a whole; but on a GPU they are: each minute of a channel takes 10 MB, or 23 MB at 48 kHz.

    A file of a folder that fails is reported, the others go on, and the exit code is 1. What is no audio, is hidden or
    is of a kind that is not read is named. A file of a kind that can't be written goes to its name with .wav behind it.

    An output appears under its name only once it is complete, so an interrupted run is resumed with --skip-existing.
    Devices and named pipes are no outputs: write to - and send that there.

    As IN or OUT, - is standard input or output: WAV, or with --raw bare samples. What can be known of the enhanced
    signal is written before more input is waited for: at 16 kHz, 32 ms after it went in. Other formats are taken in
    whole first. A named pipe or device as IN is read as - is.

    The real-time factor (RTF) is the time taken over the length of the audio: 0.1 is ten times faster than real time.

    \b
    lite-rtse enhance noisy.wav clean.wav
    lite-rtse enhance recordings/ cleaned/ --skip-existing
    ffmpeg -i talk.mkv -f wav - | lite-rtse enhance - - | ffmpeg -i - clean.opus
    """
    options = {
        "attenuation_limit_db": attenuation_limit,
        "wet": wet,
        "high_pass": not no_high_pass,
        "link_channels": link_channels,
    }
    with told():
        if force and skip_existing:
            raise JobError("--force and --skip-existing exclude each other")
        if device != "cpu":
            _check_device(device)
        raw_samples = raw_format(source, target, raw, rate, channels)
        if is_stream(source) or is_pipe(target):
            if skip_existing or device != "cpu":
                piped = source if is_stream(source) else target
                raise JobError(f"{piped}: goes with neither --skip-existing nor --device")
            if not is_pipe(target):
                replaceable(target)
            options["extra_reduction_db"] = extra_reduction
            run_pipe(lambda: network(checkpoint, extra_reduction), source, target, raw_samples, force, options)
            return
        settled = _settle(source, target)
        jobs, skipped = permit(settled.jobs, force, skip_existing)
        if skipped:
            click.echo(f"{skipped} skipped, as the output exists")
        failed = len(settled.errors)
        if jobs:
            engine = device == "cpu" and has_engine(checkpoint)
            run_on = _by_engine if engine else partial(_by_torch, device)
            by = run_on(checkpoint, extra_reduction, options)
            failed += run_jobs(by, jobs, threads if engine else 1)
    if failed:
        raise click.exceptions.Exit(1)


def _settle(source: Path, target: Path) -> Plan:
    """What is to be done; says what is not."""
    from lite_rtse_ext.audio.io import CONTAINERS, READ_SUFFIXES

    settled = plan(source, target, READ_SUFFIXES, CONTAINERS, _why_not_sound)
    for remark in settled.remarks:
        click.echo(printable(remark), err=True)
    for error in settled.errors:
        click.echo(f"Error: {describe(error)}", err=True)
    return settled


def _why_not_sound(path: Path) -> str | None:
    """Why a file of a folder is left out: a video may hold no sound. What is wrong with a WAV is an error instead."""
    from lite_rtse_ext.audio.io import CONTAINERS, read_format
    from lite_rtse_ext.audio.media import NEEDS_AV, has_av

    if path.suffix.lower() in CONTAINERS:
        return None
    try:
        read_format(path)
    except ValueError:
        return "left out, no sound in it that can be read" + ("" if has_av() else f" ({NEEDS_AV})")
    except OSError:
        return None  # the run says what is wrong
    return None


def _by_engine(checkpoint: Path | None, extra_reduction: float, options: dict[str, Any]) -> Enhance:
    from lite_rtse_ext.enhance.streaming import stream_file

    weights = network(checkpoint, extra_reduction)
    options = {**options, "extra_reduction_db": extra_reduction}
    return lambda job, progress: stream_file(
        weights, job.source, job.target, overwrite=job.overwrite, progress=progress, **options
    )


def _by_torch(device: str, checkpoint: Path | None, extra_reduction: float, options: dict[str, Any]) -> Enhance:
    path = chosen(checkpoint)
    require_torch(f"{path}: a network other than lite-rtse")
    from lite_rtse_ext import LiteRTSE
    from lite_rtse_ext.enhance import enhance_file
    from lite_rtse_ext.models import load_model

    model = load_model(path).to(device).eval()
    if isinstance(model, LiteRTSE):
        try:
            model.reduce_more(extra_reduction)
        except ValueError as error:
            raise JobError(f"{path}: {error}") from error
    elif extra_reduction:
        raise JobError(f"--extra-reduction: expected weights of {LiteRTSE.architecture}, got others: {path}")
    return lambda job, progress: enhance_file(
        model, job.source, job.target, overwrite=job.overwrite, progress=progress, **options
    )


def _check_device(name: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise JobError(f"--device {name}: expected cpu, cuda or cuda:N")
    require_torch(f"--device {name}")
    import torch

    from lite_rtse_ext.ops import _native

    if not _native.has_cuda():
        raise JobError(f"--device {name}: this build of lite-rtse-ext has no CUDA kernels")
    if not torch.cuda.is_available():
        raise JobError(f"--device {name}: PyTorch finds no usable CUDA GPU on this machine")
