"""Hours of sound in minutes, for what only time shows: memory that grows, output that drifts against its input.

    python -m tests.stream.endurance --hours 2 --pipe-hours 1 0.25

One process feeds a live streamer; beside it another writes bare samples into ``lite-rtse enhance - -`` and reads what
comes out, first at 16 kHz, then at 44.1 kHz, where the engine converts there and back. What they hear is speech-like,
silent, clipped, fading and constant by turns, in blocks of one sample to a minute.

Every few minutes of it comes the same *probe*. Of a frame seconds ago the network remembers nothing that a float could
hold, so the end of the probe must come out as it does where nothing was before it: a sample lost, added or shifted
since the beginning, or a state gone astray, shows there. Memory is compared with that after the first round, which
holds everything that the later ones do.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.benchmark.frames import speech_like
from lite_rtse_ext.signal import HOP_LENGTH, SAMPLE_RATE_HZ
from lite_rtse_ext.stream import LATENCY_SAMPLES, Streamer

ROUND_S = 300
PROBE_S, SETTLING_S = 16, 12
BLOCKS = (1, 37, 64, 255, 256, 257, 480, 1000, 2048)

MOST_GROWTH_KIB = 2048
"""Two hours are 450,000 frames and a quarter of a million calls: nine bytes lost in each are more. What a process's
allocator takes for blocks of many sizes is less: up to 1.4 MiB, after an hour of the pipe as after four."""
MOST_DIFFERENCE = 1e-5

_PR_SET_THP_DISABLE, _M_MMAP_THRESHOLD = 41, -3  # of Linux and of glibc


@dataclass
class Report:
    """What was seen; of memory and differences, a figure for each round."""

    what: str
    seconds: float = 0.0
    taken: int = 0
    given: int = 0
    due: int = 0
    """How many samples had to be given."""
    broken: int = 0
    """Samples that were not finite, and how many of them the streamer says that it mended."""
    mended: int = 0
    resident_kib: list[int] = field(default_factory=list)
    peak_kib: list[int] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)

    def growth_kib(self) -> int:
        """By how much memory grew after the first round, at its worst."""
        return max(max(kib) - kib[0] for kib in (self.resident_kib, self.peak_kib))

    def faults(self) -> list[str]:
        """What must not be, in words."""
        found = []
        if self.given != self.due:
            found.append(f"{self.taken} samples gave {self.given} instead of {self.due}")
        if self.mended != self.broken:
            found.append(f"of {self.broken} samples that are not finite, {self.mended} were mended")
        if self.growth_kib() > MOST_GROWTH_KIB:
            found.append(f"memory grew by {self.growth_kib()} KiB: {self.resident_kib}, at most {self.peak_kib}")
        wrong = [number for number, value in enumerate(self.differences) if not value <= MOST_DIFFERENCE]
        if wrong or len(self.differences) < len(self.resident_kib):
            found.append(f"the probe came out wrong or not at all: rounds {wrong} of {self.differences}")
        return found

    def __str__(self) -> str:
        kib = self.resident_kib
        return (
            f"{self.what}: {self.seconds / 3600:.2f} h, {self.taken} samples in, {self.given} out, {self.due} due; "
            f"resident {kib[0]} KiB after the first of {len(kib)} rounds, {kib[-1]} at the end, "
            f"growth at most {self.growth_kib()}; the probe differs by {max(self.differences):.1e} at most"
        )


class Programme:
    """An endless signal, the same on every run.

    Args:
        rate: Hz.
        round_s: seconds of a round.
        broken: whether NaN and infinite samples occur in it.
    """

    def __init__(self, rate: int, round_s: float = ROUND_S, broken: bool = False) -> None:
        self.rate, self.round_s = rate, round_s
        self._random = np.random.default_rng(0)
        self._kinds = [self._speech, self._silence, self._clipped, self._fading, self._constant]
        self._kinds += [self._broken] if broken else []
        self._material = speech_like(60 * rate // HOP_LENGTH)
        # After so many samples a frame begins at 16 kHz, and soxr stands as it did at the beginning.
        self._period = HOP_LENGTH * rate // math.gcd(HOP_LENGTH * rate, SAMPLE_RATE_HZ)
        probe = speech_like(PROBE_S * rate // HOP_LENGTH, seed=1)
        self.probe = probe[: len(probe) // self._period * self._period]

    def round(self) -> Iterator[NDArray[np.float32]]:
        """All blocks before the probe: a fifth of them in one, the rest in small ones."""
        whole = round(self.round_s * self.rate) - len(self.probe)
        length = -(-whole // self._period) * self._period
        done = length // 5
        yield np.resize(self._material, done)
        while done < length:
            kind = self._kinds[self._random.integers(len(self._kinds))]
            stretch = kind(round(self.rate * self._random.uniform(1, 20)))[: length - done]
            done += len(stretch)
            yield from self.cut(stretch)

    def cut(self, signal: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """A signal in small blocks of many sizes."""
        while len(signal):
            size = self._random.choice(BLOCKS)
            yield signal[:size]
            signal = signal[size:]

    def _speech(self, length: int) -> NDArray[np.float32]:
        begin = self._random.integers(len(self._material) - length)
        level = np.float32(10 ** self._random.uniform(-3, 0.5))
        return level * self._material[begin : begin + length]

    def _silence(self, length: int) -> NDArray[np.float32]:
        return np.zeros(length, np.float32)

    def _clipped(self, length: int) -> NDArray[np.float32]:
        return np.clip(100 * self._speech(length), -1, 1)

    def _fading(self, length: int) -> NDArray[np.float32]:
        """Through the subnormal numbers to zero, within half of it."""
        return self._speech(length) * np.exp(np.linspace(0, -220, length, dtype=np.float32))

    def _constant(self, length: int) -> NDArray[np.float32]:
        return np.full(length, self._random.choice([-1, 1]), np.float32)

    def _broken(self, length: int) -> NDArray[np.float32]:
        signal = self._speech(length)
        signal[self._random.integers(length, size=20)] = self._random.choice([np.nan, np.inf, -np.inf])
        return signal


def memory_kib(pid: int | str = "self") -> tuple[int, int]:
    """Resident memory of a process, now and at its highest."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return int(found["VmRSS"].split()[0]), int(found["VmHWM"].split()[0])


def difference(actual: NDArray[np.generic], expected: NDArray[np.generic]) -> float:
    """Relative L2; infinite where there are not as many samples."""
    if len(actual) != len(expected):
        return math.inf
    wide = expected.astype(np.float64)
    return float(np.linalg.norm(actual - wide) / np.linalg.norm(wide))


def rounds_of(hours: float, round_s: float) -> int:
    """At least three: one to warm up, and two to compare."""
    return max(3, math.ceil(3600 * hours / round_s))


# --- the engine -------------------------------------------------------------------------------------------------------


def engine(
    weights: Path, hours: float, round_s: float = ROUND_S, make: Callable[..., Streamer] = Streamer.from_pretrained
) -> Report:
    """A live streamer, in this process. Between rounds its call is now and then saved, moved or begun anew."""

    def new() -> Streamer:
        return make(weights, compensate_delay=False, on_fault="mute")

    def anew(streamer: Streamer) -> Streamer:
        report.given += len(streamer.flush())
        report.due += LATENCY_SAMPLES
        return streamer

    def restored(streamer: Streamer) -> Streamer:
        streamer.restore(streamer.state())
        return streamer

    def moved(streamer: Streamer) -> Streamer:
        other = new()
        other.restore(streamer.state())
        report.mended += streamer.faults.samples
        return other

    report = Report("engine")
    programme = Programme(SAMPLE_RATE_HZ, round_s, broken=True)
    settled = SETTLING_S * SAMPLE_RATE_HZ
    expected = Streamer.from_pretrained(weights, compensate_delay=False).feed(programme.probe)[settled:]
    between = [moved, restored, anew, lambda streamer: streamer]
    streamer = new()

    def feed(blocks: Iterator[NDArray[np.float32]], keep: bool = False) -> list[NDArray[np.float32]]:
        kept = []
        for block in blocks:
            enhanced = streamer.feed(block)
            if not np.isfinite(enhanced).all():
                raise FloatingPointError(f"after {report.taken} samples the output is not finite")
            report.taken += len(block)
            report.given += len(enhanced)
            report.broken += int(np.count_nonzero(~np.isfinite(block)))
            kept += [enhanced] if keep else []
        return kept

    for number in range(rounds_of(hours, round_s)):
        feed(programme.round())
        heard = np.concatenate(feed(programme.cut(programme.probe), keep=True))
        report.differences.append(difference(heard[settled:], expected))
        del heard
        streamer = between[number % len(between)](streamer)
        for kib, now in zip((report.resident_kib, report.peak_kib), memory_kib(), strict=True):
            kib.append(now)
    report.mended += streamer.faults.samples
    report.due += report.taken
    report.seconds = report.taken / SAMPLE_RATE_HZ
    return report


# --- the pipe ---------------------------------------------------------------------------------------------------------


class _Listener(threading.Thread):
    """Reads all that a process gives, and keeps the ends of the probes."""

    def __init__(self, process: subprocess.Popen[bytes], settled: int, probe: int) -> None:
        super().__init__()
        self._process, self._settled, self._probe = process, settled, probe
        self.begins: list[int] = []
        """Where probes begin, told before they are written; the output has no delay to reckon with."""
        self.heard: list[NDArray[np.float32]] = []
        self.given = 0

    def run(self) -> None:
        assert self._process.stdout is not None
        held = np.empty(0, "<f4")
        while piece := self._process.stdout.read(1 << 16):
            held = np.concatenate([held, np.frombuffer(piece, "<f4")])
            self.given += len(piece) // 4
            while len(self.heard) < len(self.begins) and self.begins[len(self.heard)] + self._probe <= self.given:
                begin = self.begins[len(self.heard)] - (self.given - len(held))
                self.heard.append(held[begin + self._settled : begin + self._probe].copy())
            held = held[-2 * self._probe :]


def pipe(weights: Path, hours: float, rate: int, round_s: float = ROUND_S) -> Report:
    """``lite-rtse enhance - -`` of bare samples, in a process of its own."""
    report, programme = Report(f"pipe, {rate} Hz"), Programme(rate, round_s)
    command = [sys.executable, "-m", "lite_rtse_ext.cli", "enhance", "-", "-", "--raw", "f32", "--rate", str(rate)]
    command += ["--checkpoint", str(weights)]
    settled, probe = SETTLING_S * rate, programme.probe.astype("<f4")
    alone = subprocess.run(command, input=probe.tobytes(), capture_output=True, check=True).stdout
    expected = np.frombuffer(alone, "<f4")
    # What comes after the probe is heard in its last frames, and, through a resampler, a little before.
    ends = len(probe) - rate // 4
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        listener = _Listener(process, settled, ends)
        listener.start()
        for _ in range(rounds_of(hours, round_s)):
            for block in programme.round():
                process.stdin.write(block.astype("<f4").tobytes())
                report.taken += len(block)
            listener.begins.append(report.taken)
            process.stdin.write(probe.tobytes())
            report.taken += len(probe)
            process.stdin.flush()
            for kib, now in zip((report.resident_kib, report.peak_kib), memory_kib(process.pid), strict=True):
                kib.append(now)
        process.stdin.close()
        listener.join()
    if process.returncode:
        raise RuntimeError(f"the command ended with {process.returncode}")
    report.given, report.due = listener.given, report.taken
    report.differences = [difference(heard, expected[settled:ends]) for heard in listener.heard]
    report.seconds = report.taken / rate
    return report


# --- both -------------------------------------------------------------------------------------------------------------


def _count_exactly() -> None:
    """Resident is then what is in use. Otherwise the kernel makes huge pages of small ones whenever it likes, also here
    and in what is started from here, and the allocator keeps large arrays once some have been freed."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
    libc.mallopt(_M_MMAP_THRESHOLD, 1 << 17)


def _pipes(weights: Path, hours: list[float], round_s: float) -> list[Report]:
    return [pipe(weights, each, rate, round_s) for each, rate in zip(hours, (SAMPLE_RATE_HZ, 44_100), strict=False)]


def side_by_side(weights: Path, hours: float, pipe_hours: list[float], round_s: float = ROUND_S) -> list[Report]:
    """Engine and pipes, each in a process that has only what it needs."""
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=_count_exactly) as pool:
        alone = pool.submit(engine, weights, hours, round_s)
        piped = pool.submit(_pipes, weights, pipe_hours, round_s)
        return [alone.result(), *piped.result()]


def main() -> None:
    """Run, print, and fail where something is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0, help="of sound through the engine")
    parser.add_argument(
        "--pipe-hours", type=float, nargs="+", default=[1.0, 0.25], help="through the pipe, at 16 and at 44.1 kHz"
    )
    parser.add_argument("--checkpoint", type=Path, help="by default random weights")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = options.checkpoint
        if weights is None:
            import torch

            from lite_rtse_ext import LiteRTSE

            torch.manual_seed(0)
            weights = Path(folder) / "random.safetensors"
            LiteRTSE().save_checkpoint(weights)
        reports = side_by_side(weights, options.hours, options.pipe_hours)
    print("\n".join(map(str, reports)))
    faults = [f"{report.what}: {fault}" for report in reports for fault in report.faults()]
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
