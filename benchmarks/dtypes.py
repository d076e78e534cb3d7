"""Speed of bfloat16 against float32: ``python -m benchmarks.dtypes``.

Every result is compared with that of eager float32 on the rounded parameters and inputs. In float32 the usual limits
apply. In bfloat16 the limit is 1.5 times the error of eager PyTorch in this dtype.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks import show
from benchmarks.harness import Entry, Report, Settings, compare, parse, report
from lite_rtse_ext.benchmark.operators import LIMITS, Case, candidate, case, difference
from lite_rtse_ext.benchmark.timing import Candidate

CASES = (*(("causal_dwconv2d", "conv_block", "multi_order_conv", "mask_residual")), "LiteRTSE")
PASSES = ("forward", "forward + backward")
DTYPES = (torch.float32, torch.bfloat16)


def widened(rounded: Case) -> Case:
    """Return the case with the same values in float32."""
    return replace(
        rounded,
        reference=copy.deepcopy(rounded.reference).float(),
        fused=copy.deepcopy(rounded.fused).float(),
        inputs=tuple(x.float() for x in rounded.inputs),
        output_gradient=rounded.output_gradient.float(),
    )


def add(to: Report, settings: Settings, name: str, what: str) -> None:
    """Compare fused and eager in both dtypes. The network's gradients are not compared in bfloat16.

    The derivatives of the network's phases are unbounded, so its gradients in half precision agree with no reference.
    """
    half = case(name, settings.batch, settings.frames, torch.bfloat16, device=settings.device)
    single = widened(half)
    exact = candidate("", single.reference, single, what).run()
    for this, dtype in ((single, torch.float32), (half, torch.bfloat16)):
        limit = LIMITS[what] if dtype is torch.float32 else 1.5 * _eager_error(half, what, exact)
        entries = [_entry("fused", this.fused, this, what), _entry("eager", this.reference, this, what)]
        compare(to, this, what, entries, exact, settings, limit=limit)


def _eager_error(this: Case, what: str, exact: Sequence[Tensor]) -> float:
    return difference(exact, candidate("", this.reference, this, what).run())


def _entry(name: str, module: torch.nn.Module, this: Case, what: str) -> Entry:
    def make() -> Candidate:
        return candidate(name, module, this, what)

    return Entry(name, make)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    settings = parse(__doc__ or "", arguments)
    answer = report("dtypes", settings)
    for name in CASES:
        for what in PASSES if name != "LiteRTSE" else PASSES[:1]:
            add(answer, settings, name, what)
    show.finish(answer, settings.results)


if __name__ == "__main__":
    main()
