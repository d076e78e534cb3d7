"""``lite-rtse bench stream``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lite_rtse_ext.utils.atomic_file import replacing
from lite_rtse_ext.utils.extras import require_torch
from lite_rtse_ext.utils.path_name import PathName

if TYPE_CHECKING:
    from lite_rtse_ext.stream import Network


@contextmanager
def json_file(path: Path | None) -> Iterator[Callable[[Any], object]]:
    """What saves results, to a file that is there once the work has ended well; nowhere without a path.

    Whether the file can be written is found out now, not after the work.
    """
    if path is None:
        yield lambda results: None
        return
    with replacing(path) as temporary:
        yield lambda results: temporary.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


@click.command()
@click.option("--frames", type=click.IntRange(min=1), default=4000, show_default=True, help="How many are timed.")
@click.option("--calls", type=click.IntRange(min=1), default=1, show_default=True, help="Streams at a time.")
@click.option(
    "--precision", type=click.Choice(["float32", "int24", "int16", "int8"]), default="float32", show_default=True
)
@click.option("--full", is_flag=True, help="The variant with a full 3×3 in its Conv-Blocks.")
@click.option("--paced", is_flag=True, help="A frame every 16 ms, as in a call, instead of at once.")
@click.option("--rate", type=click.IntRange(1000, 1_000_000), help="Sample rate; a 16 kHz stream is timed by turns.")
@click.option("--json", "json_path", type=PathName(), help="Also write the results to this file.")
def stream(
    frames: int, calls: int, precision: str, full: bool, paced: bool, rate: int | None, json_path: Path | None
) -> None:
    """Time the streaming engine on one core: how long a frame of 16 ms takes, samples in to samples out.

    Shows the median, the 99th and 99.9th percentile and the longest, the real-time factor, and how many calls one core
    carries with a tenth of its time to spare. --paced leaves the caches to others between two frames, and takes as long
    as the audio. With --rate every other frame is one of streams at 16 kHz, so that both meet the same machine. The
    parameters are those that come with the package. With --full they are random ones, which takes torch: the time does
    not depend on them.

    \b
    lite-rtse bench stream
    lite-rtse bench stream --calls 16 --precision int16
    lite-rtse bench stream --rate 48000
    """
    with json_file(json_path) as save:
        from lite_rtse_ext.benchmark.frames import (
            FRAME_MS,
            SKIPPED,
            FrameTimes,
            histogram,
            steps,
            time_frames,
            time_interleaved,
        )
        from lite_rtse_ext.stream import isa

        if rate is not None and paced:
            raise ValueError("--rate and --paced exclude each other")
        network, total = _network(precision, full), frames + SKIPPED
        step = steps(network, calls, total)
        if rate is None:
            seconds = time_frames(step, total, FRAME_MS / 1e3 if paced else 0.0)[SKIPPED:]
        else:
            plain, seconds = time_interleaved(step, steps(network, calls, total, rate), total)
            seconds = seconds[SKIPPED:]
        times = FrameTimes.of(seconds, calls)
        pace = "one every 16 ms" if paced else "one after another"
        click.echo(f"{frames} frames, {pace}, {calls} call(s), {precision}, {isa()}, one thread\n")
        for name, value in (("p50", times.p50), ("p99", times.p99), ("p99.9", times.p999), ("max", times.max)):
            click.echo(f"{name:<6} {value:8.3f} ms")
        if rate is not None:
            own = FrameTimes.of(plain[SKIPPED:], calls).p50
            click.echo(f"16 kHz {own:8.3f} ms at p50: {rate} Hz adds {times.p50 - own:.3f} ms")
        click.echo(f"RTF    {times.real_time_factor:8.4f}    calls a core: {times.calls_a_core}\n")
        click.echo("\n".join(histogram(seconds)))
        derived = {"real_time_factor": times.real_time_factor, "calls_a_core": times.calls_a_core}
        settings = {"precision": precision, "full": full, "paced": paced, "rate": rate, "isa": isa()}
        save(settings | asdict(times) | derived)


def _network(precision: Any, full: bool) -> Network:
    from lite_rtse_ext.stream import Network

    if not full:
        return Network.from_pretrained(precision=precision)
    require_torch("--full")
    from lite_rtse_ext.reference import LiteRTSE

    return Network.from_model(LiteRTSE(depthwise=False), precision)
