"""What share of the processor's peak do the operators reach: ``python -m benchmarks.roofline``. One thread.

The peak is measured anew in every round, just before the candidates: a share is taken pair by pair like a ratio.

Two shares, because the fused backward passes keep nothing from the forward pass and compute it anew: "executed" counts
all that the processor does, which says how good the kernel is; "useful" leaves out what was computed anew, which says
what a user gets. :mod:`benchmarks.flops` derives both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks import show
from benchmarks.flops import Work, work
from benchmarks.harness import Entry, Report, Settings, compare, parse, report
from lite_rtse_ext.benchmark.operators import Candidate, Quantiles, candidate, case
from lite_rtse_ext.ops import _native

CASES = ("causal_dwconv2d", "conv_block", "conv_blocks", "multi_order_conv")
PASSES = ("forward", "backward")


def gauge() -> float:
    """FLOP/s of one thread in registers, now."""
    return 1e9 * _native.fma_peak_gflops(0.1)


def figures(amount: Work, recomputes: bool, seconds: list[float], peaks: list[float]) -> dict[str, float]:
    """The rates and shares of one variant, medians over the rounds. ``recomputes``: whether it is a fused one."""
    executed = amount.executed if recomputes else amount.operations

    def median_share(operations: float) -> float:
        return Quantiles.of([operations / s / peak for s, peak in zip(seconds, peaks, strict=True)]).p50

    return {
        "GFLOP/s": 1e-9 * executed / Quantiles.of(seconds).p50,
        "FLOP/byte": executed / amount.bytes,
        "share executed": median_share(executed),
        "share useful": median_share(amount.operations),
    }


def add(to: Report, settings: Settings, name: str, what: str) -> None:
    """Rates and shares of fused and eager in one pass of a case."""
    this = case(name, settings.batch, settings.frames)
    amount = work(this, what)

    def entry(variant: str) -> Entry:
        module = this.fused if variant == "fused" else this.reference
        make: Callable[[], Candidate] = lambda: replace(candidate(variant, module, this, what), threads=1)  # noqa: E731
        return Entry(variant, make)

    def extra(variant: str, seconds: list[float], peaks: list[float]) -> dict[str, float]:
        return figures(amount, variant == "fused", seconds, peaks)

    expected = candidate("eager", this.reference, this, what).run()
    compare(to, this, what, [entry("fused"), entry("eager")], expected, settings, gauge=gauge, extra=extra)


def cascade(rounds: int) -> tuple[float, float]:
    """The depthwise stages of the Multi-Order block's forward pass alone: share of the peak, and GFLOP/s.

    Peak and stages in turns; medians over the rounds. What they compute is what the operator computes: they are its
    forward pass with a clock around them, and without the gate chain behind.
    """
    pairs = [(gauge(), 1e9 * _native.cascade_gflops()) for _ in range(rounds)]
    rates = Quantiles.of([rate for _, rate in pairs])
    return Quantiles.of([rate / peak for peak, rate in pairs]).p50, 1e-9 * rates.p50


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer, print and save."""
    settings = replace(parse(__doc__ or "", arguments, devices=["cpu"]), threads=1)
    answer = report("roofline", settings)
    for name in CASES:
        for what in PASSES:
            add(answer, settings, name, what)
    show.finish(answer, settings.results, show.roofline)


if __name__ == "__main__":
    main()
