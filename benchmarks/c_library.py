"""Time of a frame in the C library and in Streamer, in turns: ``python -m benchmarks.c_library LIBRARY``.

LIBRARY is the path of liblite_rtse.so. Both work on the same noise with the same weights.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from ctypes import byref, c_int32, c_size_t, c_void_p
from pathlib import Path

import click
import numpy as np

from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.stream import Streamer, isa

FRAME, SKIPPED = 256, 200


def c_frame(path: Path, frame: np.ndarray) -> Callable[[], object]:
    """What enhances the frame by a live stream of the C library."""
    library = ctypes.CDLL(str(path.resolve()))
    network, stream, written = c_void_p(), c_void_p(), c_size_t()
    weights = str(pretrained_path()).encode()
    for status in (
        library.lite_rtse_network_load(weights, c_int32(0), byref(network), None, c_size_t(0)),
        library.lite_rtse_stream_create(network, c_int32(1), c_int32(1), byref(stream)),
    ):
        if status != 0:
            raise RuntimeError(f"the C library returned the status {status}")
    process = library.lite_rtse_stream_process
    process.argtypes = [c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p]
    output = np.empty(FRAME, np.float32)
    addresses = frame.ctypes.data, output.ctypes.data, ctypes.addressof(written)

    def run(_kept: tuple[np.ndarray, c_size_t] = (output, written)) -> object:
        return process(stream, addresses[0], FRAME, addresses[1], FRAME, addresses[2])

    return run


@click.command()
@click.argument("library", type=click.Path(exists=True, path_type=Path))
@click.option("--frames", type=click.IntRange(min=1), default=4000, show_default=True)
def main(library: Path, frames: int) -> None:
    """Print percentiles of both, and the median of the difference."""
    frame = (0.1 * np.random.default_rng(0).standard_normal(FRAME)).astype(np.float32)
    streamer = Streamer.from_pretrained(compensate_delay=False)
    calls = (c_frame(library, frame), lambda: streamer.feed(frame))
    times = np.zeros((SKIPPED + frames, 2))
    for number, row in enumerate(times):
        for which in (0, 1) if number % 2 else (1, 0):
            begin = time.perf_counter()
            calls[which]()
            row[which] = time.perf_counter() - begin
    times = 1e3 * times[SKIPPED:]
    for name, column in (("C library", 0), ("Streamer", 1)):
        low, median = np.percentile(times[:, column], (10, 50))
        click.echo(f"{name:<10} p10 {low:.3f} ms  p50 {median:.3f} ms  ({isa()})")
    click.echo(f"median of C library - Streamer: {1e3 * np.median(times[:, 0] - times[:, 1]):.1f} us")


if __name__ == "__main__":
    main()
