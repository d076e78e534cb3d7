"""Times candidates side by side.

Candidates are timed in rounds. Each round times all candidates, one right after the other. If the machine slows down,
all of them slow down. A ratio is taken between two candidates of the same round. Its quantiles over the rounds are
reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


def _nothing() -> None:
    return None


@contextmanager
def thread_count(count: int | None) -> Iterator[None]:
    """Set the number of CPU threads and restore it afterwards. None leaves the number unchanged."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Candidate:
    """One implementation of one pass.

    ``step(prepare())`` returns the tensors to compare. Only ``step`` is timed. ``threads`` is the number of CPU threads
    for a step. None leaves the number unchanged.
    """

    name: str
    step: Callable[[Any], list[Tensor]]
    prepare: Callable[[], Any] = _nothing
    threads: int | None = None

    def run(self) -> list[Tensor]:
        """Run the step once without timing it."""
        with thread_count(self.threads):
            return self.step(self.prepare())


@dataclass(frozen=True)
class Quantiles:
    """The 20th, 50th and 80th percentile."""

    p20: float
    p50: float
    p80: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles:
        """Compute the percentiles with linear interpolation between the sorted values."""
        return cls(*(float(q) for q in np.quantile(values, (0.2, 0.5, 0.8))))


@dataclass(frozen=True)
class Rounds:
    """Seconds by candidate and the result of the gauge, with one value per round."""

    seconds: dict[str, list[float]]
    gauge: list[float]

    def milliseconds(self, name: str) -> Quantiles:
        return Quantiles.of([1e3 * value for value in self.seconds[name]])

    def ratio(self, numerator: str, denominator: str) -> Quantiles:
        """Time of one candidate over the time of another, taken round by round."""
        pairs = zip(self.seconds[numerator], self.seconds[denominator], strict=True)
        return Quantiles.of([a / b for a, b in pairs])


def measure(
    candidates: Sequence[Candidate],
    rounds: int,
    warm_up: int = 1,
    budget_s: float = float("inf"),
    gauge: Callable[[], float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    device: torch.device | str = "cpu",
) -> Rounds:
    """Time candidates in interleaved rounds.

    Every second round runs in reverse order, so that no candidate always follows the same other one.

    Args:
        candidates: the candidates. Each round times all of them. Their names must differ.
        rounds: the number of rounds.
        warm_up: untimed runs of each candidate before the first round.
        budget_s: no new round begins after this many seconds. The first round always runs.
        gauge: called once at the beginning of each round. It measures the machine's current speed.
        clock: a function that returns seconds. Tests replace it.
        device: device of the candidates. A GPU is timed by events on its current stream. Work that a step leaves
            running then counts, and work from before the step does not.

    Returns:
        The times of all rounds.

    Raises:
        ValueError: two names are the same, or ``rounds`` is below 1.
    """
    names = [candidate.name for candidate in candidates]
    if len(set(names)) != len(names) or rounds < 1:
        raise ValueError(f"expected candidates of different names and at least 1 round, got {names} and {rounds}")
    for candidate in candidates:
        for _ in range(warm_up):
            candidate.run()
    result = Rounds({name: [] for name in names}, [])
    begin = clock()
    for number in range(rounds):
        if number and clock() - begin > budget_s:
            break
        if gauge:
            result.gauge.append(gauge())
        for candidate in candidates if number % 2 == 0 else reversed(candidates):
            with thread_count(candidate.threads):
                result.seconds[candidate.name].append(_seconds(candidate, clock, torch.device(device)))
    return result


def _seconds(candidate: Candidate, clock: Callable[[], float], device: torch.device) -> float:
    state = candidate.prepare()
    if device.type == "cuda":
        return _gpu_seconds(candidate, state, device)
    start = clock()
    tensors = candidate.step(state)
    seconds = clock() - start
    del tensors  # only here, since freeing memory is not part of the step
    return seconds


def _gpu_seconds(candidate: Candidate, state: Any, device: torch.device) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    stream = torch.cuda.current_stream(device)
    torch.cuda.synchronize(device)
    begin.record(stream)
    tensors = candidate.step(state)
    end.record(stream)
    end.synchronize()
    del tensors
    return float(1e-3 * begin.elapsed_time(end))
