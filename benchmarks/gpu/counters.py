"""Nsight Compute's counters of the slowest kernels in a training step, one kernel at a time.

The results are written after each kernel. A second run goes on with those that are missing.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.record import write_json

SLOWEST = 5
SECTIONS = ("SpeedOfLight", "Occupancy", "WarpStateStats", "MemoryWorkloadAnalysis", "LaunchStats")
_EACH_S = 30.0
_OURS = "lite_rtse::"


def function_name(kernel: str) -> str:
    """The name of a kernel without its return type, namespaces, template arguments and parameters."""
    return re.split(r"[<(]", kernel.replace("(anonymous namespace)::", ""))[0].split("::")[-1].split(" ")[-1]


def slowest(kernels: dict[str, Any], ours: str = _OURS) -> list[str]:
    """The library's kernels that take the most time in a fused training step, slowest first."""
    total: Counter[str] = Counter()
    for step in kernels["steps"]:
        if (step["case"], step["what"], step["side"]) == ("LiteRTSE", "training step", "fused"):
            for kernel in step["kernels"]:
                if ours in kernel["name"]:
                    total[function_name(kernel["name"])] += kernel["us"]
    return [name for name, _ in total.most_common(SLOWEST)]


def parse(output: str) -> dict[str, str]:
    """The metrics in what ``ncu --csv --page details`` prints: name and unit, and the value."""
    lines = output.splitlines()
    begin = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    rows = csv.DictReader(lines[begin:])
    named = (row for row in rows if row.get("Metric Name"))
    return {f"{row['Metric Name']} [{row['Metric Unit']}]": row["Metric Value"] for row in named}


def counters(kernel: str, step: Sequence[str]) -> dict[str, Any]:
    """Run one training step under ncu, and read the counters of the first launch of a kernel."""
    sections = [word for section in SECTIONS for word in ("--section", section)]
    command = ["ncu", "--csv", "--page", "details", "--clock-control", "none", *sections]
    command += ["--kernel-name", f"regex:^{kernel}$", "--launch-count", "1", *step]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_EACH_S)
    except subprocess.TimeoutExpired:
        return {"left out": f"ncu did not finish after {_EACH_S:.0f} s"}
    found = parse(done.stdout)
    return found or {"left out": " ".join((done.stdout + done.stderr).split())[-300:]}


def one_step(rehearse: bool) -> None:
    """One training step of the fused network."""
    from benchmarks.model import training_candidate
    from lite_rtse_ext.benchmark.operators import case

    device, batch, frames = ("cpu", 1, 3) if rehearse else ("cuda", 16, 250)
    this = case("LiteRTSE", batch, frames, device=device)
    training_candidate("fused", this.fused, this).run()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the counters that are missing in the file of results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", type=Path, help="what benchmarks.kernels wrote")
    parser.add_argument("results", type=Path)
    parser.add_argument("--step", action="store_true", help="run one training step and no more")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU with tiny shapes; the times mean nothing")
    options = parser.parse_args(arguments)
    if options.step:
        return one_step(options.rehearse)
    flag = ["--rehearse"] if options.rehearse else []
    step = [
        sys.executable,
        "-m",
        "benchmarks.gpu.counters",
        str(options.kernels),
        str(options.results),
        "--step",
        *flag,
    ]
    found = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else {}
    measured = json.loads(options.kernels.read_text(encoding="utf-8"))
    for kernel in slowest(measured, ours="" if options.rehearse else _OURS):
        if kernel not in found or "left out" in found[kernel]:
            found[kernel] = counters(kernel, step)
            write_json(options.results, found)
            print(kernel, json.dumps(found[kernel]), flush=True)
    return None


if __name__ == "__main__":
    main()
