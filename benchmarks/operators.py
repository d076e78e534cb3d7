"""Speed of each operator in forward, backward and both: ``python -m benchmarks.operators``."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import show
from benchmarks.harness import Report, Settings, compare, parse, report, variant_entries
from benchmarks.variants import VARIANTS
from lite_rtse_ext.benchmark.operators import Case, candidate, case
from lite_rtse_ext.benchmark.timing import Candidate

CASES = ("causal_dwconv2d", "conv_block", "multi_order_conv", "mask_residual")
PASSES = ("forward", "backward", "forward + backward")


def add(
    to: Report, settings: Settings, name: str, passes: Sequence[str] = PASSES, variants: Sequence[str] | None = None
) -> None:
    """Compare the variants on one case. Variants without gradients are compared in "forward" only."""
    this = case(name, settings.batch, settings.frames, device=settings.device)
    for what in passes:
        inference = what == "forward"
        chosen = [v for v in variants or VARIANTS if not VARIANTS[v].graph and (inference or VARIANTS[v].trains)]
        if name == "mask_residual":  # it has no features, so this memory format does not apply
            chosen = [v for v in chosen if "channels_last" not in v]

        def make(variant: str, runnable: object, suited: Case, what: str = what) -> Candidate:
            assert callable(runnable)
            return candidate(variant, runnable, suited, what)

        expected = make("eager", this.reference, this).run()
        compare(to, this, what, variant_entries(this, chosen, inference, make), expected, settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    settings = parse(__doc__ or "", arguments)
    answer = report("operators", settings)
    for name in CASES:
        add(answer, settings, name)
    show.finish(answer, settings.results)


if __name__ == "__main__":
    main()
