"""Peak memory of a training step in addition to the parameters: ``python -m benchmarks.memory``. Linux only.

On a GPU (``--device cuda``) this is the peak memory in use by PyTorch's allocator. On the CPU it is found as follows.

Each variant runs in a separate process. Memory that is allocated before the step (parameters, optimizer state, inputs,
code) is the base. First, freed memory is returned to the system (malloc_trim). Then VmHWM, the kernel's high-water mark
of resident memory, is reset to the current value by writing 5 to /proc/self/clear_refs. One step runs. The peak is the
new high-water mark minus the base. It contains all resident memory, whoever allocated it: gradients, tensors that
autograd saves, and scratch memory of libraries.

A step of two frames runs first, so that loading of code is not counted. Compiled variants do their first step at full
size instead. The gradients of every variant are compared with those of eager.
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
from lite_rtse_ext.benchmark.operators import LIMITS, WrongResult, candidate, case, difference
from lite_rtse_ext.benchmark.timing import Candidate, Quantiles

CASES = (("multi_order_conv", "forward + backward"), ("LiteRTSE", "training step"))
SIDES = ("fused", "eager", "channels_last", "compile")


def peak_bytes(step: Callable[[], object], device: str = "cpu") -> int:
    """Return the peak memory of ``step`` minus that before it, in bytes: resident memory, or on a GPU memory in use."""
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
    """Measure one variant in this process. Prints the peak in bytes and saves the gradients."""
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
    """Measure one variant in a separate process. Returns its peak in MiB and its gradients."""
    path = folder / f"{variant}.pt"
    sizes = ["--batch", settings.batch, "--frames", settings.frames, "--threads", settings.threads]
    where = ["--device", settings.device]
    command = [sys.executable, "-m", "benchmarks.memory", "--child", variant, name, what, path, *sizes, *where]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True)
    peak = json.loads(done.stdout.splitlines()[-1])["peak_bytes"]
    return peak / 2**20, torch.load(path, weights_only=True)


def add(to: Report, settings: Settings, name: str, what: str, sides: Sequence[str] = SIDES) -> None:
    """Measure the peaks of the variants.

    A record has the peak as "MiB" in ``extra``. Its ``relative`` is the ratio to eager's peak. No time is reported.

    Raises:
        WrongResult: the gradients of a variant differ from eager's.
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
    """Measure, print and save. With ``--child``, measure one variant in this process."""
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
