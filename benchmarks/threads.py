"""Speed of two threads against one: ``python -m benchmarks.threads``. Both are timed in the same rounds.

LSTMs run step by step and gain little from threads in any implementation. So the Multi-Order block shows the gain of
the fused operators, and the network shows the gain of a user.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks import show
from benchmarks.harness import Entry, Report, Settings, compare, parse, report
from benchmarks.model import training_candidate
from benchmarks.variants import VARIANTS
from lite_rtse_ext.benchmark.operators import Case, candidate, case
from lite_rtse_ext.benchmark.timing import Candidate

COUNTS = (1, 2)
CASES = (
    ("multi_order_conv", "forward"),
    ("multi_order_conv", "forward + backward"),
    ("mask_residual", "forward + backward"),
    ("LiteRTSE", "forward"),
    ("LiteRTSE", "training step"),
)


def label(side: str, threads: int) -> str:
    """Return the name of the variant in the records."""
    return f"{side}, {threads} thread{'s' if threads > 1 else ''}"


def _candidate(side: str, threads: int, this: Case, what: str) -> Candidate:
    runnable, suited = VARIANTS[side].build(this, what == "forward")
    name = label(side, threads)
    made = training_candidate(name, runnable, suited) if what == "training step" else candidate(
        name, runnable, suited, what
    )  # fmt: skip
    return replace(made, threads=threads)


def add(to: Report, settings: Settings, name: str, what: str, sides: Sequence[str] = ("fused", "eager")) -> None:
    """Compare the thread counts on one pass of a case. Times are relative to "fused" with the most threads."""
    this = case(name, settings.batch, settings.frames)

    def entry(side: str, threads: int) -> Entry:
        make: Callable[[], Candidate] = lambda: _candidate(side, threads, this, what)  # noqa: E731
        return Entry(label(side, threads), make)

    entries = [entry(side, threads) for side in sides for threads in COUNTS]
    expected = [tensor.detach().clone() for tensor in _candidate("eager", 1, this, what).run()]
    compare(to, this, what, entries, expected, settings, relative_to=label("fused", COUNTS[-1]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    settings = parse(__doc__ or "", arguments, devices=["cpu"])
    answer = report("threads", settings)
    for name, what in CASES:
        add(answer, settings, name, what)
    show.finish(answer, settings.results)


if __name__ == "__main__":
    main()
