"""Standard input and output, which ``lite-rtse enhance`` calls ``-``, and named pipes and devices as inputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from lite_rtse_ext.cli.jobs import JobError
from lite_rtse_ext.utils.atomic_file import naming_full_disk

if TYPE_CHECKING:
    from lite_rtse_ext.audio import AudioFormat
    from lite_rtse_ext.stream import Network

# Those of lite_rtse_ext.audio.pipe, which --help need not import.
RAW_TYPES = ("u8", "s16", "s24", "s32", "f32", "f64", "ulaw", "alaw")


def is_pipe(path: Path) -> bool:
    """Whether it means standard input or output. A file of that name has to be given with its folder's."""
    return str(path) == "-"


def is_stream(source: Path) -> bool:
    """Whether an input can be read once only: standard input, a named pipe or a device."""
    return is_pipe(source) or (source.exists() and not (source.is_file() or source.is_dir()))


def raw_format(
    source: Path, target: Path, raw: str | None, rate: int | None, channels: int | None
) -> AudioFormat | None:
    """What ``--raw``, ``--rate`` and ``--channels`` say of samples without a header; None for WAV.

    Raises:
        JobError: they don't go together.
    """
    from lite_rtse_ext.audio.formats import RATES, AudioFormat
    from lite_rtse_ext.audio.pipe import RAW_SUBTYPES
    from lite_rtse_ext.utils.arguments import MOST_CHANNELS

    needed = raw is not None and is_stream(source)
    if not needed and (rate, channels) != (None, None):
        raise JobError("--rate and --channels are for raw input: IN must be - or a pipe, with --raw")
    if raw is None:
        return None
    if not (is_stream(source) or is_pipe(target)):
        raise JobError("--raw is for standard input and output: IN or OUT must be -")
    if needed and rate not in RATES:
        raise JobError(f"raw input needs its sample rate: --rate HZ, {RATES.start} to {RATES.stop - 1}")
    if channels is not None and not 1 <= channels <= MOST_CHANNELS:
        raise JobError(f"--channels: expected 1 to {MOST_CHANNELS}, got {channels}")
    return AudioFormat(rate or 0, channels or 1, "WAV", RAW_SUBTYPES[raw])


def run_pipe(
    network: Callable[[], Network],
    source: Path,
    target: Path,
    raw: AudioFormat | None,
    overwrite: bool,
    options: dict[str, Any],
) -> None:
    """Enhances what comes in on ``-`` or from a pipe, or goes out on ``-``, and says so on stderr."""
    from lite_rtse_ext.enhance.streaming import stream_pipe

    if source.is_dir():
        raise JobError(f"{source}: a folder can't go into -")
    with ExitStack() as stack:
        incoming: Any = source
        if is_pipe(source):
            incoming = _standard("input", sys.stdin, "pipe sound into it")
        elif is_stream(source):
            incoming = stack.enter_context(source.open("rb"))
            if incoming.isatty():
                raise JobError(f"{source}: is a terminal; pipe sound into it")
        if not is_pipe(target):
            _refuse_the_input(incoming, target)
        outgoing = _standard("output", sys.stdout, "pipe it into a program") if is_pipe(target) else target
        options = {"raw": raw, "overwrite": overwrite, "name": str(source), **options}
        with naming_full_disk(target):
            done = stream_pipe(network(), incoming, outgoing, **options)
    click.echo(f"{done.audio_seconds:.1f} s of audio in {done.elapsed_seconds:.1f} s", err=True)


def _refuse_the_input(incoming: Any, target: Path) -> None:
    """Refuses an output that is the file which the shell has opened as standard input."""
    try:
        same = os.path.samestat(os.fstat(incoming.fileno()), target.stat())
    except OSError:  # there is no such output yet, or the input is no file
        return
    if same:
        raise JobError(f"{target}: is the input itself, which is never overwritten")


def _standard(name: str, stream: TextIO | None, advice: str) -> Any:
    """The bytes of standard input or output."""
    if stream is None:
        raise JobError(f"-: standard {name} is closed")
    if stream.isatty():
        raise JobError(f"-: standard {name} is a terminal; {advice}")
    return stream.buffer
