"""``lite-rtse live``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lite_rtse_ext.cli.options import NumberRange, link_option
from lite_rtse_ext.cli.weights import checkpoint_option, extra_reduction_option, network
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.extras import require

if TYPE_CHECKING:
    from lite_rtse_ext.stream.live import Counts


def _device(text: str | None) -> int | str | None:
    """sounddevice tells devices by number or by a part of their name."""
    return int(text) if text is not None and text.isdecimal() else text


@contextmanager
def _refusals(sounddevice: Any) -> Iterator[None]:
    """Turns the library's own error, which is none of Python's kinds, into one that ends as a line."""
    try:
        yield
    except sounddevice.PortAudioError as error:
        raise RuntimeError(f"the sound device refused: {error}") from error


@click.command()
@checkpoint_option
@click.option("--input", "source", metavar="DEVICE", help="Microphone: a number, or a part of its name.")
@click.option("--output", "target", metavar="DEVICE", help="Loudspeaker, or a virtual cable into a call.")
@click.option(
    "--rate", type=int, default=SAMPLE_RATE_HZ, show_default=True, help="Hz; others than 16000 add 9 ms of latency."
)
@click.option("--block", type=click.IntRange(min=1), help="Samples a block; by default 16 ms of them.")
@click.option(
    "--attenuation-limit",
    metavar="DB",
    type=NumberRange(min=0),
    help="The most by which noise is turned down; inf: no limit.",
)
@extra_reduction_option
@click.option("--no-high-pass", is_flag=True, help="Leave a constant offset of the input to the network.")
@link_option
@click.option("--seconds", type=NumberRange(min=0), help="Stop after so long; by default at Ctrl-C.")
@click.option("--devices", is_flag=True, help="List the devices and stop.")
def live(
    checkpoint: Path | None,
    source: str | None,
    target: str | None,
    rate: int,
    block: int | None,
    attenuation_limit: float | None,
    extra_reduction: float,
    no_high_pass: bool,
    link_channels: bool,
    seconds: float | None,
    devices: bool,
) -> None:
    """Take the noise out of what the microphone hears, while it hears it.

    A sample comes out 32 ms after it went in, and later by what the sound card and the block add. At another rate than
    16000 it comes out 41 ms after, and with the band above 8 kHz.

    The microphone's channels are mixed into one. With --link-channels up to two are kept apart.

    \b
    lite-rtse live --devices
    lite-rtse live --input 1 --output "virtual cable"
    """
    require("live sound", "live", ("sounddevice",))
    import sounddevice

    if devices:
        click.echo(sounddevice.query_devices())
        return
    from lite_rtse_ext.stream import Streamer
    from lite_rtse_ext.stream.live import LiveCallback

    with _refusals(sounddevice):
        channels = tuple(
            min(2, sounddevice.query_devices(_device(name), kind)[f"max_{kind}_channels"])
            for name, kind in ((source, "input"), (target, "output"))
        )
    streamer = Streamer(
        network(checkpoint, extra_reduction),
        sample_rate=rate,
        channels=max(1, channels[0]) if link_channels else 1,
        compensate_delay=False,
        attenuation_limit_db=attenuation_limit,
        extra_reduction_db=extra_reduction,
        high_pass=not no_high_pass,
        on_fault="mute",
    )
    stopped = threading.Event()
    callback = LiveCallback(streamer, time.perf_counter, stopped.set)
    try:
        with (
            _refusals(sounddevice),
            sounddevice.Stream(
                samplerate=rate,
                blocksize=block or round(0.016 * rate),
                device=(_device(source), _device(target)),
                channels=channels,
                dtype="float32",
                latency="low",
                callback=callback,
            ) as stream,
        ):
            latency_ms = 1e3 * (sum(stream.latency) + streamer.latency_samples / rate)
            click.echo(f"running, about {latency_ms:.0f} ms behind; Ctrl-C ends it", err=True)
            stopped.wait(seconds if seconds is None else min(seconds, threading.TIMEOUT_MAX))
    except KeyboardInterrupt:
        click.echo("", err=True)
    if callback.error is not None:
        raise callback.error
    click.echo(summary(callback.counts, streamer.faults.samples + streamer.faults.frames))


def summary(counts: Counts, faults: int) -> str:
    """The line at the end."""
    if not counts.blocks:
        return "no sound came in"
    mean_ms = 1e3 * counts.busy_s / counts.blocks
    lost = f"{counts.late} late, input lost {counts.lost_in} times, output {counts.lost_out} times"
    return (
        f"{counts.blocks} blocks, {mean_ms:.2f} ms each, {1e3 * counts.worst_s:.2f} at worst; {lost}; {faults} faults"
    )
