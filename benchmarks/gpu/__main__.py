"""One pass on a machine with a GPU: build for that card, tests, sanitizers, times, counters, within nine minutes.

Each part is a process with a time limit, and its result is written at once to a folder of its own for this card, this
torch and these sources. A pass that is cut off loses nothing: the next one goes on with the parts that are missing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu import build
from benchmarks.gpu.parts import BUDGET_S, parts
from benchmarks.gpu.record import FAILED, LEFT_OUT, PASSED, Part, Record, Results, run

ROOT = Path(__file__).resolve().parents[2]
_LEAST_S = 5.0  # no part begins with less time left


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are missing. Returns 1 if the build or a part failed, and 3 if parts are still missing."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu", help="default: build/gpu")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds for the whole pass (default: 540)")
    parser.add_argument("--library", type=Path, help="a built _C.abi3.so with CUDA kernels: nothing is built then")
    parser.add_argument("--rehearse", action="store_true", help="the same parts on the CPU with tiny shapes")
    options = parser.parse_args(arguments)
    ends = time.monotonic() + options.budget
    machine = build.machine(options.rehearse)
    if isinstance(machine, str):
        parser.error(machine)
    results = Results(options.out.resolve() / build.fingerprint(ROOT, machine, options.library) / "results")
    print(f"{machine.name}; torch {machine.torch}; results in {results.folder}", flush=True)
    folder = results.folder.parent / "run"
    record = build.build(ROOT, folder, results, machine, options.library)
    _say(record)
    if record.status != PASSED:
        return 1
    found = [_done(part, results, ends, folder) for part in parts(results, ROOT / "pyproject.toml", options.rehearse)]
    missing = [part for part in found if part.status not in (PASSED, FAILED, LEFT_OUT)]
    if missing:
        print(f"{len(missing)} parts are missing; the same command goes on with them")
    return 1 if any(part.status == FAILED for part in found) else 3 if missing else 0


def _done(part: Part, results: Results, ends: float, folder: Path) -> Record:
    before, left = results.read(part.name), ends - time.monotonic()
    if before and before.status in (PASSED, FAILED):
        record = before
    elif part.tool and shutil.which(part.tool) is None:
        record = results.write(Record(part.name, LEFT_OUT, f"{part.tool} was not found"))
    elif left < _LEAST_S:
        record = before or Record(part.name, "not run", "no time was left")
    else:
        record = run(part, results, min(part.limit_s, left), folder, build.environment(folder))
    _say(record)
    return record


def _say(record: Record) -> None:
    words = [record.part, record.status, f"{record.seconds:.0f} s", record.counts, record.reason]
    print("; ".join(word for word in words if word), flush=True)


if __name__ == "__main__":
    sys.exit(main())
