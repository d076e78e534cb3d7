"""The harness itself: quantiles, order, pairs, warm-up, budget, and what counts as a difference."""

from __future__ import annotations

import math

import pytest
import torch

from lite_rtse_ext.benchmark.operators import CASES, WrongResult, candidate, case, check, difference
from lite_rtse_ext.benchmark.timing import Candidate, Quantiles, Rounds, measure


class Clock:
    """Time passes only when a candidate runs; the log says which ran when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def candidate(self, name: str, *seconds: float, preparation: float = 0.0) -> Candidate:
        """Takes the given seconds in turn, the last ones for ever."""
        left = list(seconds)

        def step(_: object) -> list[torch.Tensor]:
            self.log.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]
            return []

        def prepare() -> None:
            self.now += preparation

        return Candidate(name, step, prepare)


def test_quantiles_interpolate() -> None:
    assert Quantiles.of([5.0, 1.0, 2.0, 4.0, 3.0, 6.0]) == Quantiles(2.0, 3.5, 5.0)
    assert Quantiles.of([7.0]) == Quantiles(7.0, 7.0, 7.0)


def test_rounds_interleave_and_turn_round() -> None:
    clock = Clock()
    measure([clock.candidate(name, 1.0) for name in "abc"], rounds=3, warm_up=2, clock=clock)
    assert "".join(clock.log) == "aabbcc" + "abc" + "cba" + "abc"


def test_warm_up_and_preparation_are_not_timed() -> None:
    clock = Clock()
    rounds = measure([clock.candidate("a", 100.0, 2.0, 3.0, preparation=50.0)], rounds=2, warm_up=1, clock=clock)
    assert rounds.seconds == {"a": [2.0, 3.0]}
    assert rounds.milliseconds("a").p50 == 2500.0


def test_ratios_are_taken_pair_by_pair() -> None:
    # A machine that slows down tenfold for a round slows both: the ratio stays 2 where that of the sums would too, but
    # the ratio of quantiles over differently disturbed rounds would not.
    rounds = Rounds({"slow": [2.0, 20.0, 2.0], "fast": [1.0, 10.0, 1.0]}, [])
    assert rounds.ratio("slow", "fast") == Quantiles(2.0, 2.0, 2.0)
    assert rounds.ratio("fast", "slow") == Quantiles(0.5, 0.5, 0.5)


def test_no_round_begins_beyond_the_budget_but_the_first_always_does() -> None:
    clock = Clock()
    assert len(measure([clock.candidate("a", 4.0)], rounds=9, warm_up=0, budget_s=10, clock=clock).seconds["a"]) == 3
    assert len(measure([clock.candidate("a", 4.0)], rounds=9, warm_up=0, budget_s=0, clock=clock).seconds["a"]) == 1


def test_the_gauge_is_read_once_a_round() -> None:
    clock = Clock()
    readings = iter([1.0, 2.0, 3.0])
    candidates = [clock.candidate("a", 1.0), clock.candidate("b", 1.0)]
    assert measure(candidates, rounds=3, gauge=lambda: next(readings), clock=clock).gauge == [1.0, 2.0, 3.0]


def test_each_candidate_has_its_threads_and_the_count_is_restored() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def step(_: object) -> list[torch.Tensor]:
        seen.append(torch.get_num_threads())
        return []

    measure([Candidate("one", step, threads=1), Candidate("two", step, threads=2)], rounds=1, warm_up=1)
    assert seen == [1, 2, 1, 2]
    assert torch.get_num_threads() == before
    Candidate("one", step, threads=before + 1).run()
    assert seen.pop() == before + 1
    assert torch.get_num_threads() == before


def test_same_names_are_refused() -> None:
    clock = Clock()
    with pytest.raises(ValueError, match=r"different names .* \['a', 'a'\]"):
        measure([clock.candidate("a", 1.0), clock.candidate("a", 1.0)], rounds=1)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_nan_anywhere_is_a_difference(bad: int) -> None:
    expected = [torch.ones(2), torch.ones(2), torch.ones(2)]
    actual = [tensor.clone() for tensor in expected]
    assert difference(expected, actual) == 0.0
    actual[bad][1] = math.nan
    assert difference(expected, actual) == math.inf


def test_what_does_not_pair_up_is_a_difference() -> None:
    assert difference([torch.ones(2)], []) == math.inf
    assert difference([torch.ones(2)], [torch.ones(1, 2)]) == math.inf
    assert difference([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 4.5])]) == pytest.approx(0.1)


def test_a_wrong_candidate_is_refused_by_name() -> None:
    wrong = Candidate("wrong", lambda _: [torch.full((4,), 1.01)])
    assert check(wrong, [torch.ones(4)], 0.02, "somewhere") == pytest.approx(0.01)
    with pytest.raises(WrongResult, match=r"somewhere: wrong and eager differ by 1\.0e-02, not timed"):
        check(wrong, [torch.ones(4)], 0.005, "somewhere")


@pytest.mark.parametrize("name", [*CASES, "conv_blocks"])
def test_passes_give_the_tensors_they_stand_for(name: str) -> None:
    this = case(name, batch=2, frames=3)
    (output,) = candidate("", this.reference, this, "forward").run()
    assert output.shape == this.output_gradient.shape
    assert this.seconds_of_audio == pytest.approx(2 * 3 * 0.016)
    backward = candidate("", this.reference, this, "backward").run()
    both = candidate("", this.reference, this, "forward + backward").run()
    inputs = len(this.inputs) if this.input_gradients else 0
    assert len(backward) == len(both) == inputs + len(list(this.reference.parameters()))
    assert difference(both, backward) == 0.0


def test_an_unknown_pass_is_refused() -> None:
    this = case("mask_residual", 1, 1)
    with pytest.raises(ValueError, match="got 'sideways'"):
        candidate("", this.reference, this, "sideways")


class Gpu:
    """Stands for torch.cuda: notes waits and events, which are so many milliseconds apart."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        for name, value in {"Event": self.event, "synchronize": self.synchronize, "current_stream": str}.items():
            monkeypatch.setattr(torch.cuda, name, value)

    def synchronize(self, device: torch.device) -> None:
        self.log.append(f"wait for {device}")

    def event(self, enable_timing: bool) -> Event:
        assert enable_timing
        return Event(self.log)


class Event:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def record(self, stream: str) -> None:
        self.log.append(f"event on {stream}")

    def synchronize(self) -> None:
        self.log.append("wait for event")

    def elapsed_time(self, end: Event) -> float:
        assert self is not end
        return 12.5


def test_a_gpu_is_timed_by_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Around the step alone, behind all that was enqueued before, until all that it enqueued is done."""
    gpu = Gpu(monkeypatch)

    def step(state: str) -> list[torch.Tensor]:
        gpu.log.append(f"step from {state}")
        return []

    def prepare() -> str:
        gpu.log.append("prepare")
        return "here"

    rounds = measure([Candidate("a", step, prepare)], rounds=2, warm_up=0, device="cuda:1")
    assert rounds.seconds == {"a": [0.0125, 0.0125]}
    once = ["prepare", "wait for cuda:1", "event on cuda:1", "step from here", "event on cuda:1", "wait for event"]
    assert gpu.log == 2 * once


@pytest.mark.parametrize("name", [*CASES, "conv_blocks"])
def test_all_of_a_case_is_on_its_device(name: str) -> None:
    """The device ``meta`` stands for a GPU: it computes shapes, and refuses what is elsewhere."""
    this = case(name, batch=2, frames=3, device="meta")
    assert this.device.type == "meta"
    for tensor in (*this.inputs, this.output_gradient, *this.reference.parameters(), *this.fused.parameters()):
        assert tensor.device.type == "meta"
    for module in (this.reference, this.fused):
        (y,) = candidate("", module, this, "forward").run()
        assert (y.device, y.shape) == (this.device, this.output_gradient.shape)
        assert all(t.device == this.device for t in candidate("", module, this, "forward + backward").run())
