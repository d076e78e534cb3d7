"""Time of each GPU kernel: ``python -m benchmarks.kernels``.

Each operator and the network are measured, fused and eager. The time of a step is the time on its stream, measured by
CUDA events, the median of several steps. The time and launches of each kernel come from PyTorch's profiler. The
difference between a step and the sum of its kernels is time in which the GPU waits for launches. Two ceilings are
measured as well, which show what bounds each kernel: the bandwidth of a copy, and the float32 rate of a cuBLAS matrix
product.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import show
from benchmarks.harness import RESULTS
from benchmarks.model import training_candidate
from benchmarks.variants import VARIANTS
from lite_rtse_ext import ops
from lite_rtse_ext.benchmark.environment import gpu_name
from lite_rtse_ext.benchmark.operators import Case, candidate, case
from lite_rtse_ext.utils.atomic_file import replacing

OPERATORS = ("causal_dwconv2d", "conv_block", "multi_order_conv", "mask_residual")
SIDES = ("fused", "eager")
_WARM_UP, _PROFILED, _TIMED = 3, 5, 10
_SHOWN = 8


@dataclass(frozen=True)
class Kernel:
    """One kernel in one step: its name in the profiler, number of launches, and total time of these in microseconds."""

    name: str
    launches: float
    us: float


@dataclass(frozen=True)
class Step:
    """One pass of one case: the time of the step by CUDA events in microseconds, and its kernels, longest first."""

    case: str
    what: str
    side: str
    us: float
    kernels: list[Kernel]

    @property
    def busy_us(self) -> float:
        """Total time of all kernels in microseconds."""
        return sum(kernel.us for kernel in self.kernels)


def median_us(step: Callable[[], object], times: int = _TIMED) -> float:
    """Return the median time of a step on the current stream in microseconds, by CUDA events."""
    for _ in range(_WARM_UP):
        step()
    found = []
    for _ in range(times):
        begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize()
        found.append(1e3 * float(begin.elapsed_time(end)))
    return statistics.median(found)


def kernels(step: Callable[[], object]) -> list[Kernel]:
    """Return the kernels of a step, longest first. Launches and times are means over several steps."""
    for _ in range(_WARM_UP):
        step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        for _ in range(_PROFILED):
            step()
        torch.cuda.synchronize()
    rows = [
        Kernel(event.key, event.count / _PROFILED, event.self_device_time_total / _PROFILED)
        for event in found.key_averages()
        if event.device_type.name == "CUDA"
    ]
    return sorted(rows, key=lambda kernel: -kernel.us)


def ceilings() -> dict[str, float]:
    """Measure the ceilings of the GPU: bytes read and written by a copy, and operations of a float32 matrix product."""
    count, size = 1 << 29, 8192
    source, target = torch.randn(count, device="cuda"), torch.empty(count, device="cuda")
    copy_us = median_us(lambda: target.copy_(source))
    matrix = torch.randn(size, size, device="cuda")
    product_us = median_us(lambda: matrix @ matrix)
    return {"copy GB/s": 8e-3 * count / copy_us, "float32 TFLOP/s": 2e-6 * size**3 / product_us}


def steps(batch: int, frames: int) -> list[Step]:
    """Measure every operator, and the network in inference and training, fused and eager."""
    found = []
    for name in OPERATORS:
        this = case(name, batch, frames, device="cuda")
        for what in ("forward", "forward + backward"):
            for side in SIDES:
                run: Callable[[], object] = candidate(side, VARIANTS[side].build(this, False)[0], this, what).run
                found.append(Step(name, what, side, median_us(run), kernels(run)))
    network = case("LiteRTSE", batch, frames, device="cuda")
    for side in SIDES:
        for what, run in _of_network(side, network).items():
            found.append(Step("LiteRTSE", what, side, median_us(run), kernels(run)))
    return found


def _of_network(side: str, this: Case) -> dict[str, Callable[[], object]]:
    module, _ = VARIANTS[side].build(this, False)
    return {
        "forward": candidate(side, module, this, "forward").run,
        "training step": training_candidate(side, module, this).run,
    }


def table(answer: dict[str, Any]) -> str:
    """Format the steps as a table, fused beside eager, and the longest kernels of the fused steps."""
    every = [Step(**{**entry, "kernels": [Kernel(**k) for k in entry["kernels"]]}) for entry in answer["steps"]]
    rows = [["", "fused ms", "its kernels", "eager ms", "its kernels", "ratio", "of kernels"]]
    for fused in (step for step in every if step.side == "fused"):
        (eager,) = (s for s in every if (s.case, s.what, s.side) == (fused.case, fused.what, "eager"))
        times = [f"{1e-3 * us:.2f}" for us in (fused.us, fused.busy_us, eager.us, eager.busy_us)]
        ratios = f"{eager.us / fused.us:.1f}", f"{eager.busy_us / fused.busy_us:.1f}"
        rows.append([f"{fused.case}, {fused.what}", *times, *ratios])
    lines = [f"{answer['gpu']}; torch {answer['torch']}; {answer['date']}", _ceiling_text(answer), "", show.grid(rows)]
    for fused in (step for step in every if step.side == "fused" and step.what != "forward"):
        parts = [["", "launches", "us"]]
        parts += [[k.name[:70], f"{k.launches:g}", f"{k.us:.0f}"] for k in fused.kernels[:_SHOWN]]
        lines += ["", f"{fused.case}, {fused.what}", show.grid(parts)]
    return "\n".join(lines)


def _ceiling_text(answer: dict[str, Any]) -> str:
    sizes = f"{answer['batch']} × {answer['frames']} frames, float32"
    return "; ".join([sizes, *(f"{name} {value:.0f}" for name, value in answer["ceilings"].items())])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if not (torch.cuda.is_available() and ops.has_cuda()):
        parser.error("needs a GPU and a build with CUDA kernels")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    answer = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "gpu": gpu_name("cuda"),
        "torch": torch.__version__,
        "batch": options.batch,
        "frames": options.frames,
        "ceilings": ceilings(),
        "steps": [asdict(step) for step in steps(options.batch, options.frames)],
    }
    print(table(answer))
    options.results.mkdir(parents=True, exist_ok=True)
    with replacing(options.results / "kernels.json") as temporary:
        temporary.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
