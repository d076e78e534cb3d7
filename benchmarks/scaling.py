"""Cost per second of audio for different lengths and batch sizes: ``python -m benchmarks.scaling``.

The shapes are one utterance of 1 s to 300 s, and 1 to 32 utterances of 4 s. The memory of each shape is estimated from
its sizes. A shape that needs more memory than the machine has free is reported and omitted.

Every shape is timed alternately with a reference workload (``WORKLOAD``). Its cost is given relative to that of the
reference workload. A round over all shapes would take longer than the speed of a shared machine remains constant. A
short shape is called repeatedly until it has processed 10 s of audio, as a user with many short recordings does. Its
time is the mean.

The eager reference does not fit into memory at the largest shapes. But everything is causal, and utterances are
independent. So the first second of the first and the last utterance is compared with the eager result for these alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks import show
from benchmarks.harness import Record, Report, Settings, parse, report, timed
from benchmarks.model import training_candidate
from lite_rtse_ext.benchmark.operators import LIMITS, Case, WrongResult, candidate, case, difference
from lite_rtse_ext.benchmark.timing import Candidate, Rounds, measure
from lite_rtse_ext.signal import BINS, FRAMES_PER_SECOND

SECONDS = (1, 3, 10, 30, 100, 300)
BATCHES = (1, 2, 4, 8, 16, 32)
SECONDS_OF_BATCHES = 4
SECONDS_A_ROUND = 10
"""Minimum audio per measured value. The previous call may have processed 300 s. It leaves its own data in the caches,
which would dominate the time of a single call of 1 s."""

CASES = (("multi_order_conv", "forward + backward"), ("LiteRTSE", "forward"), ("LiteRTSE", "training step"))

# Bytes per point that a case holds at its peak: 4 bytes × the channels of inputs, outputs and gradients. These include
# the network's 32 channels between its blocks and their gradients.
_BYTES_PER_POINT = {
    ("multi_order_conv", "forward + backward"): 4 * (32 + 32 + 4),
    ("LiteRTSE", "forward"): 4 * (2 * 32 + 24),
    ("LiteRTSE", "training step"): 4 * (5 * 32 + 64),
}


@dataclass(frozen=True)
class Shape:
    """Number of utterances and frames."""

    batch: int
    frames: int

    @property
    def label(self) -> str:
        return f"{self.batch} × {self.frames / FRAMES_PER_SECOND:g} s"


WORKLOAD = Shape(4, round(SECONDS_OF_BATCHES * FRAMES_PER_SECOND))
_WORKLOAD = f"reference workload, {WORKLOAD.label}"


def shapes() -> list[Shape]:
    """Return all shapes to measure. One utterance of 4 s comes with the batches; it lies between 3 s and 10 s."""
    lengths = [Shape(1, round(s * FRAMES_PER_SECOND)) for s in SECONDS]
    return lengths + [Shape(batch, round(SECONDS_OF_BATCHES * FRAMES_PER_SECOND)) for batch in BATCHES]


def available_bytes(device: str = "cpu") -> int:
    """Return the free physical memory, or the free memory of the GPU."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def needed_bytes(name: str, what: str, shape: Shape) -> int:
    """Estimate the memory of a shape by the table above."""
    return _BYTES_PER_POINT[name, what] * shape.batch * shape.frames * BINS


def deviation(this: Case) -> float:
    """Return the relative L2 difference of the fused forward pass from the reference.

    It covers the first second of the first and the last utterance.
    """
    frames = min(62, this.output_gradient.shape[2])
    with torch.no_grad():
        whole = this.fused(*this.inputs)[:, :, :frames]
        ends = [this.reference(*(x[[0, -1], :, :frames] for x in this.inputs))]
    return difference(ends, [whole[[0, -1]]])


def calls_a_round(this: Case) -> int:
    """Return the number of consecutive calls per measured value."""
    return math.ceil(SECONDS_A_ROUND / this.seconds_of_audio)


@dataclass(frozen=True)
class Subject:
    """A shape that is ready for timing, and the difference of its output from the reference."""

    case: Case
    once: Candidate
    difference: float

    def repeated(self, label: str) -> Candidate:
        """Make a candidate of all its calls in a round, under another name."""

        def calls(_: None) -> list[Tensor]:
            for _again in range(calls_a_round(self.case) - 1):
                self.once.step(self.once.prepare())
            return self.once.step(self.once.prepare())

        return Candidate(label, calls)


def subject(name: str, what: str, shape: Shape, device: str) -> Subject:
    """Make a case of this shape and compare it with the reference.

    Raises:
        WrongResult: its output differs from the reference's.
    """
    this = case(name, shape.batch, shape.frames, device=device)
    found = deviation(this)
    if not found <= LIMITS["forward"]:
        raise WrongResult(f"{name}, {shape.label}: fused and eager differ by {found:.1e}, not timed")
    if what == "training step":
        return Subject(this, training_candidate(shape.label, this.fused, this), found)
    return Subject(this, candidate(shape.label, this.fused, this, what), found)


def _a_second(times: Rounds, subjects: dict[str, Subject]) -> Rounds:
    """Convert the measured times to times per second of audio."""
    seconds = {}
    for name, values in times.seconds.items():
        this = subjects[name].case
        seconds[name] = [value / calls_a_round(this) / this.seconds_of_audio for value in values]
    return Rounds(seconds, times.gauge)


def add(to: Report, settings: Settings, name: str, what: str, wanted: Sequence[Shape] | None = None) -> None:
    """Time all shapes of a case that fit into memory.

    A record's ``relative`` is the cost per second of audio divided by that of the reference workload in the same round.
    "ms a second" in ``extra`` is the measured cost per second of audio itself.

    Raises:
        WrongResult: the output of a shape differs from the reference.
    """
    workload = subject(name, what, WORKLOAD, settings.device)
    for shape in wanted or shapes():
        needed = needed_bytes(name, what, shape)
        if needed > 0.8 * available_bytes(settings.device):
            to.miss(f"{name}, {what}, {shape.label}: left out, needs about {needed / 2**30:.1f} GiB")
            continue
        to.records.append(_beside(workload, subject(name, what, shape, settings.device), what, settings))


def _beside(workload: Subject, this: Subject, what: str, settings: Settings) -> Record:
    one = this.repeated(this.once.name)
    subjects = {one.name: this, _WORKLOAD: workload}
    pair = [one, workload.repeated(_WORKLOAD)]
    measured = measure(pair, settings.rounds, settings.warm_up, settings.budget_s, device=settings.device)
    costs = _a_second(measured, subjects)
    audio = this.case.seconds_of_audio  # both as the time of this much audio: one call of this shape
    times = Rounds({name: [audio * cost for cost in values] for name, values in costs.seconds.items()}, [])
    extra = {"seconds of audio": audio, "ms a second": costs.milliseconds(one.name).p50}
    return timed(one, this.case, what, times, _WORKLOAD, this.difference, LIMITS["forward"], extra)


def spread(records: Sequence[Record]) -> float:
    """Return by how many percent the cost per second of audio is higher at the worst shape than at the best."""
    costs = [record.relative.p50 for record in records]
    return 100 * (max(costs) / min(costs) - 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    settings = parse(__doc__ or "", arguments, rounds=5)
    answer = report("scaling", settings)
    for name, what in CASES:
        add(answer, settings, name, what)
    show.finish(answer, settings.results, show.scaling)


if __name__ == "__main__":
    main()
