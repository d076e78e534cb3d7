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
import time
from collections.abc import Callable, Iterator, Sequence
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
_BOTH, _STEP = "forward + backward", "training step"


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


def median_us(step: Callable[[], object], device: str = "cuda") -> float:
    """Return the median time of a step on the current stream in microseconds, by CUDA events; on the CPU by a clock."""
    for _ in range(_WARM_UP):
        step()
    time_us = _gpu_us if device == "cuda" else _cpu_us
    return statistics.median(time_us(step) for _ in range(_TIMED))


def _cpu_us(step: Callable[[], object]) -> float:
    begin = time.perf_counter()
    step()
    return 1e6 * (time.perf_counter() - begin)


def _gpu_us(step: Callable[[], object]) -> float:
    begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    begin.record()
    step()
    end.record()
    torch.cuda.synchronize()
    return 1e3 * float(begin.elapsed_time(end))


def kernels(step: Callable[[], object], device: str = "cuda") -> list[Kernel]:
    """Return the kernels of a step, longest first. Launches and times are means over several steps.

    On the CPU these are PyTorch's operators.
    """
    wait: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else lambda: None
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    for _ in range(_WARM_UP):
        step()
    wait()
    with profile(activities=activities) as found:
        for _ in range(_PROFILED):
            step()
        wait()
    which = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    rows = [
        Kernel(event.key, event.count / _PROFILED, getattr(event, which) / _PROFILED)
        for event in found.key_averages()
        if event.device_type.name == device.upper()
    ]
    return sorted(rows, key=lambda kernel: -kernel.us)


def ceilings(device: str = "cuda") -> dict[str, float]:
    """Measure the ceilings of the GPU: bytes read and written by a copy, and operations of a float32 matrix product."""
    count, size = (1 << 29, 8192) if device == "cuda" else (1 << 16, 64)
    source, target = torch.randn(count, device=device), torch.empty(count, device=device)
    copy_us = median_us(lambda: target.copy_(source), device)
    matrix = torch.randn(size, size, device=device)
    product_us = median_us(lambda: matrix @ matrix, device)
    return {"copy GB/s": 8e-3 * count / copy_us, "float32 TFLOP/s": 2e-6 * size**3 / product_us}


Key = tuple[str, str, str]


def steps(batch: int, frames: int, known: Sequence[Key] = (), device: str = "cuda") -> Iterator[Step]:
    """Measure the network in inference and training and every operator, fused and eager.

    Args:
        batch: utterances.
        frames: frames of each.
        known: case, pass and side of the steps to leave out.
        device: "cuda", or "cpu" in a rehearsal.
    """
    for name in ("LiteRTSE", *OPERATORS):
        this = case(name, batch, frames, device=device)
        for what in ("forward", _STEP if name == "LiteRTSE" else _BOTH):
            for side in SIDES:
                if (name, what, side) not in known:
                    run = _runner(side, this, what)
                    yield Step(name, what, side, median_us(run, device), kernels(run, device))


def _runner(side: str, this: Case, what: str) -> Callable[[], object]:
    module, _ = VARIANTS[side].build(this, False)
    return (training_candidate(side, module, this) if what == _STEP else candidate(side, module, this, what)).run


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
    """Measure what is missing in the file of results, save after every step, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="keep the steps that are in the file of results")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU with tiny shapes; the times mean nothing")
    options = parser.parse_args(arguments)
    if not options.rehearse and not (torch.cuda.is_available() and ops.has_cuda()):
        parser.error("needs a GPU and a build with CUDA kernels")
    device, batch, frames = ("cpu", 1, 3) if options.rehearse else ("cuda", options.batch, options.frames)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    path = options.results / "kernels.json"
    found = json.loads(path.read_text(encoding="utf-8"))["steps"] if options.resume and path.exists() else []
    answer = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "gpu": gpu_name(device),
        "torch": torch.__version__,
        "batch": batch,
        "frames": frames,
        "ceilings": ceilings(device),
        "steps": found,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    for step in steps(batch, frames, [(s["case"], s["what"], s["side"]) for s in found], device):
        found.append(asdict(step))
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    print(table(answer))


if __name__ == "__main__":
    main()
