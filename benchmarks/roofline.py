"""Share of the processor's peak that the operators reach, on one thread: ``python -m benchmarks.roofline``.

The peak is measured again in every round, just before the candidates. A share is the ratio of two values of one round.

There are two shares, because the fused backward passes save nothing from the forward pass and recompute it. "executed"
counts all operations that the processor executes; it shows how good the kernel is. "useful" omits recomputed
operations; it shows what a user gets. :mod:`benchmarks.flops` derives both counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks import show
from benchmarks.flops import Work, work
from benchmarks.harness import Entry, Report, Settings, compare, parse, report
from lite_rtse_ext.benchmark.operators import candidate, case
from lite_rtse_ext.benchmark.timing import Candidate, Quantiles
from lite_rtse_ext.ops import _native

CASES = ("causal_dwconv2d", "conv_block", "conv_blocks", "multi_order_conv")
PASSES = ("forward", "backward")


def gauge() -> float:
    """Measure the current peak FLOP/s of one thread, with operands in registers."""
    return 1e9 * _native.fma_peak_gflops(0.1)


def figures(amount: Work, recomputes: bool, seconds: list[float], peaks: list[float]) -> dict[str, float]:
    """Compute the rates and shares of one variant, medians over the rounds.

    Args:
        amount: the work of the pass.
        recomputes: whether the variant recomputes the forward pass, as the fused one does.
        seconds: time of each round.
        peaks: peak FLOP/s of each round.
    """
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
    """Measure rates and shares of fused and eager in one pass of a case."""
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
    """Measure the depthwise stages of the Multi-Order block's forward pass alone.

    The stages run the code of the operator's forward pass, without the gate chain. Peak and stages are timed
    alternately.

    Returns:
        The share of the peak, and the rate in GFLOP/s; medians over the rounds.
    """
    pairs = [(gauge(), 1e9 * _native.cascade_gflops()) for _ in range(rounds)]
    rates = Quantiles.of([rate for _, rate in pairs])
    return Quantiles.of([rate / peak for peak, rate in pairs]).p50, 1e-9 * rates.p50


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    settings = replace(parse(__doc__ or "", arguments, devices=["cpu"]), threads=1)
    answer = report("roofline", settings)
    for name in CASES:
        for what in PASSES:
            add(answer, settings, name, what)
    show.finish(answer, settings.results, show.roofline)


if __name__ == "__main__":
    main()
