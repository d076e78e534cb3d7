"""How much memory does a training step take above the parameters: ``python -m benchmarks.memory``. Linux only.

On a GPU (``--device cuda``) it is what PyTorch's allocator had in use at the peak. On the CPU:

Each variant runs in a process of its own. What was allocated before the step (parameters, optimizer state, inputs,
code) is its base: freed memory is handed back to the system (malloc_trim), VmHWM, the kernel's high-water mark of
resident memory, is reset to what is resident now (by writing 5 to /proc/self/clear_refs), one step runs, and the new
high-water mark minus the base is the peak. It holds everything resident, whoever allocated it: gradients, what autograd
saves, and scratch of libraries.

A step of two frames comes first, so that loading code is not counted; what compiles does its first step at full size.
Every variant's gradients are compared with eager's.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import show
from benchmarks.harness import Record, Report, Settings, parse, report
from benchmarks.model import training_candidate
from benchmarks.variants import VARIANTS
from lite_rtse_ext.benchmark.operators import LIMITS, Candidate, Quantiles, WrongResult, candidate, case, difference

CASES = (("multi_order_conv", "forward + backward"), ("LiteRTSE", "training step"))
SIDES = ("fused", "eager", "channels_last", "compile")


def peak_bytes(step: Callable[[], object], device: str = "cpu") -> int:
    """Resident memory at the highest point of ``step`` above what was resident before it; on a GPU, memory in use."""
    gc.collect()
    if device == "cuda":
        return _gpu_peak_bytes(step)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    base = _status("VmRSS")
    result = step()
    peak = _status("VmHWM")
    del result
    return peak - base


def _gpu_peak_bytes(step: Callable[[], object]) -> int:
    torch.cuda.reset_peak_memory_stats()
    base = torch.cuda.memory_allocated()
    step()
    return torch.cuda.max_memory_allocated() - base


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _candidate(variant: str, name: str, what: str, batch: int, frames: int, device: str) -> Candidate:
    runnable, suited = VARIANTS[variant].build(case(name, batch, frames, device=device), False)
    if what == "training step":
        return training_candidate(variant, runnable, suited)
    return candidate(variant, runnable, suited, what)


def child(variant: str, name: str, what: str, settings: Settings, gradients: Path) -> None:
    """Measure one variant in this process: prints the bytes, saves the gradients."""
    torch.set_num_threads(settings.threads)
    if not VARIANTS[variant].compiles:
        _candidate(variant, name, what, 1, 2, settings.device).run()
    step = _candidate(variant, name, what, settings.batch, settings.frames, settings.device)
    if VARIANTS[variant].compiles:
        step.run()
    results: list[Tensor] = []
    peak = peak_bytes(lambda: results.extend(step.run()), settings.device)
    torch.save([tensor.cpu().contiguous() for tensor in results], gradients)
    print(json.dumps({"peak_bytes": peak}))


def _measure(variant: str, name: str, what: str, settings: Settings, folder: Path) -> tuple[float, list[Tensor]]:
    """MiB and gradients of one variant, from a process of its own."""
    path = folder / f"{variant}.pt"
    sizes = ["--batch", settings.batch, "--frames", settings.frames, "--threads", settings.threads]
    where = ["--device", settings.device]
    command = [sys.executable, "-m", "benchmarks.memory", "--child", variant, name, what, path, *sizes, *where]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True)
    peak = json.loads(done.stdout.splitlines()[-1])["peak_bytes"]
    return peak / 2**20, torch.load(path, weights_only=True)


def add(to: Report, settings: Settings, name: str, what: str, sides: Sequence[str] = SIDES) -> None:
    """Peaks of the variants, "MiB" in ``extra``; ``relative`` is to eager's peak, and no time is reported.

    Raises:
        WrongResult: a variant's gradients differ from eager's.
    """
    with tempfile.TemporaryDirectory() as folder:
        taken = [side for side in dict.fromkeys(["eager", *sides]) if side not in settings.without]
        found = {side: _measure(side, name, what, settings, Path(folder)) for side in taken}
    eager, expected = found["eager"]
    for side, (mebibytes, gradients) in found.items():
        off = difference(expected, gradients)
        if not off <= LIMITS[what]:
            raise WrongResult(f"{name}, {what}: {side} and eager differ by {off:.1e}, not measured")
        share = mebibytes / eager
        to.records.append(
            Record(
                case=name,
                what=what,
                variant=side,
                dtype="float32",
                batch=settings.batch,
                frames=settings.frames,
                threads=settings.threads,
                rounds=1,
                ms=None,
                relative=Quantiles(share, share, share),
                relative_to="eager",
                difference=off,
                limit=LIMITS[what],
                extra={"MiB": mebibytes},
            )
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer, print and save; with ``--child`` one variant's measurement."""
    hidden = argparse.ArgumentParser(add_help=False)
    hidden.add_argument("--child", nargs=4)
    inner, rest = hidden.parse_known_args(arguments)
    settings = parse(__doc__ or "", rest)
    if inner.child:
        variant, name, what, path = inner.child
        child(variant, name, what, settings, Path(path))
        return
    answer = report("memory", settings)
    for name, what in CASES:
        add(answer, settings, name, what)
    show.finish(answer, settings.results)


if __name__ == "__main__":
    main()
