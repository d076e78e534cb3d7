"""``lite-rtse prepare rooms``: impulse responses of simulated rooms, for training.

The package ``pyroomacoustics`` simulates them: shoebox rooms by the image method. The image sources are displaced at
random by some centimeters. Otherwise the symmetry of a room causes audible sweeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import AudioFormat, write
from lite_rtse_ext.data.manifest import Clip, Manifest
from lite_rtse_ext.data.prepare.command import ADDED_TO, summarize
from lite_rtse_ext.data.prepare.convert import FULL_SCALE_PEAK, complete_frames
from lite_rtse_ext.data.prepare.made import MOST_COUNT, MOST_SEED, manifest_before, require_limits, save_made
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.workers import Lost, run_in_order

__all__ = ["FOLDER", "Room", "draw_room", "prepare_rooms", "rooms", "simulate"]

FOLDER = "room/simulated"
"""Where the responses are, below the folder of the manifest."""

_SMALLEST_M, _LARGEST_M = (2.5, 2.5, 2.2), (10.0, 8.0, 4.0)
_RT60_SECONDS = 0.1, 0.8
_WALL_M, _APART_M = 0.3, 0.3
_MOST_ABSORPTION = 0.9
_LEAD = SAMPLE_RATE_HZ // 500
"""Samples before the direct sound."""

_INAUDIBLE = 1e-6
"""Share of the energy of a response that may be cut off at its end."""

_REPORT_EVERY = 100
_Samples = NDArray[np.float32]
_Point = tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """A shoebox room. Lengths are in meters.

    Args:
        size: width, depth and height.
        rt60_seconds: time in which sound decays by 60 dB, by Sabine's formula.
        source: place of the source.
        microphone: place of the microphone.
    """

    size: _Point
    rt60_seconds: float
    source: _Point
    microphone: _Point


@dataclass(frozen=True)
class _Task:
    seed: int
    number: int
    path: Path


def prepare_rooms(target: Path, *, count: int, seed: int = 0, report: Callable[[str], None] = print) -> Manifest:
    """Simulate rooms, write their responses as WAV files at 16 kHz, and add them to the manifest in a folder.

    The folder may hold data that another source prepared. Its manifest keeps all its other entries. Simulated rooms of
    an earlier call are replaced. A response depends only on the seed and its number. Files that exist are kept, so the
    same call continues an interrupted one.

    Args:
        target: the folder. It is created if it doesn't exist.
        count: number of rooms, with one response each, 1 to 1,000,000.
        seed: seed of all draws, 0 to 2^32 - 1.
        report: function that is called with one line about the progress.

    Returns:
        The manifest that was written.

    Raises:
        ImportError: the package pyroomacoustics is not installed.
        ValueError: the count or the seed is outside its limits.
        OSError: a file can't be read or written.
        ManifestError: the folder holds a file manifest.json that is not a manifest.
        RuntimeError: the process that simulated a room died.
    """
    require_limits(seed, count=count)
    before = manifest_before(target, "rooms")
    _library()
    (target / FOLDER).mkdir(parents=True, exist_ok=True)
    tasks = [_Task(seed, number, target / FOLDER / f"{seed}-{number:06}.wav") for number in range(count)]
    lengths = {task: _frames(task.path) for task in tasks}
    missing = [task for task in tasks if lengths[task] is None]
    for done, (task, frames) in enumerate(zip(missing, run_in_order(_write, missing), strict=True), 1):
        if isinstance(frames, Lost):
            raise RuntimeError(f"{task.path}: {frames.reason}")
        lengths[task] = frames
        if done % _REPORT_EVERY == 0 or done == len(missing):
            report(f"{done} of {len(missing)} rooms")
    clips = [_clip(task, frames) for task, frames in lengths.items() if frames is not None]
    return save_made(before, FOLDER, clips)


def draw_room(seed: int, number: int) -> Room:
    """Draw the size and the reverberation time of a room, and where source and microphone are.

    The time is 0.1 to 0.8 s. In a large room it is never so short that the walls would absorb more than 90 %.
    """
    random = np.random.default_rng((seed, number))
    size = random.uniform(_SMALLEST_M, _LARGEST_M)
    width, depth, height = size
    surface = 2 * (width * depth + width * height + depth * height)
    shortest = 0.161 * width * depth * height / (surface * _MOST_ABSORPTION)  # Sabine's formula
    rt60_seconds = random.uniform(max(_RT60_SECONDS[0], shortest), _RT60_SECONDS[1])
    source = microphone = size / 2
    while np.linalg.norm(source - microphone) < _APART_M:
        source, microphone = random.uniform(_WALL_M, size - _WALL_M, (2, 3))
    return Room(_point(size), rt60_seconds, _point(source), _point(microphone))


def _point(values: NDArray[np.float64]) -> _Point:
    x, y, z = values.tolist()
    return x, y, z


def simulate(room: Room, seed: int) -> _Samples:
    """Simulate the impulse response of a room, float32, ``(samples,)`` at 16 kHz, with a peak below full scale.

    It begins 2 ms before the direct sound. The end with the last millionth of the energy is cut off.

    Args:
        room: the room.
        seed: seed of the displacement of the image sources.

    Raises:
        ImportError: the package pyroomacoustics is not installed.
    """
    library = _library()
    library.constants.set("num_threads", 1)  # rooms are simulated in several processes
    library.random.seed(seed)
    absorption, order = library.inverse_sabine(room.rt60_seconds, room.size)
    box = library.ShoeBox(
        room.size,
        fs=SAMPLE_RATE_HZ,
        materials=library.Material(absorption),
        max_order=order,
        air_absorption=True,
        use_rand_ism=True,
    )
    box.add_source(list(room.source))
    box.add_microphone(list(room.microphone))
    box.compute_rir()
    flight_seconds = float(np.linalg.norm(np.subtract(room.source, room.microphone))) / library.constants.get("c")
    direct = round(flight_seconds * SAMPLE_RATE_HZ) + library.constants.get("frac_delay_length") // 2
    response = np.asarray(box.rir[0][0], np.float64)[max(0, direct - _LEAD) :]
    remaining = np.cumsum(np.square(response)[::-1])[::-1]
    audible = response[: int(np.count_nonzero(remaining > _INAUDIBLE * remaining[0]))]
    scaled: _Samples = (audible * (FULL_SCALE_PEAK / np.abs(audible).max())).astype(np.float32)
    return scaled


def _write(task: _Task) -> int:
    """Simulate a room and write its response. Return the length in samples."""
    response = simulate(draw_room(task.seed, task.number), task.number)
    write(task.path, response[:, None], AudioFormat(SAMPLE_RATE_HZ, 1, "WAV", "PCM_16"))
    return len(response)


def _frames(path: Path) -> int | None:
    """Return the length of a complete file in samples, or None if there is none."""
    try:
        with path.open("rb") as file:
            header = file.read(8)
    except OSError:
        return None
    whole = int.from_bytes(header[4:], "little") + len(header) == path.stat().st_size  # libsndfile accepts shorter ones
    return complete_frames(path) if whole else None


def _clip(task: _Task, frames: int) -> Clip:
    room = draw_room(task.seed, task.number)
    size = " × ".join(f"{length:.1f}" for length in room.size)
    source = f"pyroomacoustics, seed {task.seed}, room {task.number}: {size} m, RT60 {room.rt60_seconds:.2f} s"
    return Clip("room", "train", f"{FOLDER}/{task.path.name}", frames, "simulated", "CC0-1.0", source)


def _library() -> Any:
    try:
        import pyroomacoustics
    except ImportError as error:
        raise ImportError(
            "simulated rooms need the package pyroomacoustics: pip install 'lite-rtse-ext[rooms]'"
        ) from error
    return pyroomacoustics


@click.command()
@ADDED_TO
@click.option(
    "--count", type=click.IntRange(1, MOST_COUNT), required=True, help="Number of rooms, with a response each."
)
@click.option(
    "--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True, help="Another one, other rooms."
)
def rooms(target: Path, count: int, seed: int) -> None:
    """Simulated room responses for training, added to the manifest of a prepared folder.

    Needs the extra `rooms`. One room takes about a third of a second. What another command wrote into the folder is
    kept. That command leaves the rooms out of the manifest when it runs again; run this one after it.

    \b
    lite-rtse prepare rooms --count 500 --out mine
    """
    summarize(prepare_rooms(target, count=count, seed=seed, report=click.echo))
