"""What do two threads gain over one: ``python -m benchmarks.threads``. Both thread counts are timed in the same rounds.

LSTMs run step after step and gain little from threads, whoever computes them: the block shows what the fused operators
gain, the network what a user gains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks import show
from benchmarks.harness import Entry, Report, Settings, compare, parse, report
from benchmarks.model import training_candidate
from benchmarks.variants import VARIANTS
from lite_rtse_ext.benchmark.operators import Candidate, Case, candidate, case

COUNTS = (1, 2)
CASES = (
    ("multi_order_conv", "forward"),
    ("multi_order_conv", "forward + backward"),
    ("mask_residual", "forward + backward"),
    ("LiteRTSE", "forward"),
    ("LiteRTSE", "training step"),
)


def label(side: str, threads: int) -> str:
    """The variant's name in the records."""
    return f"{side}, {threads} thread{'s' if threads > 1 else ''}"


def _candidate(side: str, threads: int, this: Case, what: str) -> Candidate:
    runnable, suited = VARIANTS[side].build(this, what == "forward")
    name = label(side, threads)
    made = training_candidate(name, runnable, suited) if what == "training step" else candidate(
        name, runnable, suited, what
    )  # fmt: skip
    return replace(made, threads=threads)


def add(to: Report, settings: Settings, name: str, what: str, sides: Sequence[str] = ("fused", "eager")) -> None:
    """Compare the thread counts on one pass of a case; times are relative to fused with all threads."""
    this = case(name, settings.batch, settings.frames)

    def entry(side: str, threads: int) -> Entry:
        make: Callable[[], Candidate] = lambda: _candidate(side, threads, this, what)  # noqa: E731
        return Entry(label(side, threads), make)

    entries = [entry(side, threads) for side in sides for threads in COUNTS]
    expected = [tensor.detach().clone() for tensor in _candidate("eager", 1, this, what).run()]
    compare(to, this, what, entries, expected, settings, relative_to=label("fused", COUNTS[-1]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer, print and save."""
    settings = parse(__doc__ or "", arguments, devices=["cpu"])
    answer = report("threads", settings)
    for name, what in CASES:
        add(answer, settings, name, what)
    show.finish(answer, settings.results)


if __name__ == "__main__":
    main()
