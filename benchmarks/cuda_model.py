"""A model of the CUDA kernels, without any measurement: ``python -m benchmarks.cuda_model``.

The model gives the bytes and operations of each kernel, and the minimum time that each device needs for them. This
floor is the largest of

    bytes / bandwidth of global memory
    operations / peak of float32
    passes through shared memory / (one per clock and multiprocessor)

Where blocks wait for one another once a frame, the time of these exchanges is added. Through global memory it is a
published one, and at the barrier of a cluster an assumption: :mod:`benchmarks.cuda_floor` has both. A chain of
operations within a block is not counted: the floor of ``gru_lanes`` says nothing of the time that its frames take one
after another.

At the end stands the whole network, of which :mod:`benchmarks.cuda_step` says what it consists of.

A launch adds some microseconds, and no kernel reaches any of the three limits. So the floor is a lower bound and not a
prediction. The same floor is given for PyTorch's eager graph of the same module, whose bytes and operations are counted
by :mod:`benchmarks.eager_traffic`. A recurrent layer's counterpart is cuDNN (:mod:`benchmarks.cuda_layers`).

Sources of the counts:

- Bytes and passes: the kernels run on the CPU with the launch plan of the device, and every access to memory is
  recorded (``tests/cuda/trace.py``). In large grids, evenly spaced blocks represent all blocks. Every byte that a block
  reads or writes counts once per block. Parameters count once per launch.
- Operations: the multiply-adds of the mathematical definition (:mod:`benchmarks.cuda_operations`), two operations each.
  Tensor cores do those of 1x1 convolutions whose factors are both stored in one half type.
- Occupancy: registers come from the machine code, if nvcc and a disassembler are installed. Shared memory comes from
  the plan.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.cuda_floor import (
    CLUSTER_MEETING_S,
    DEVICES,
    MEETING_S,
    DeviceFigures,
    Model,
    Row,
    eager_rows,
    floor,
    harness,
    moved,
    of_tests,
    seconds,
)
from benchmarks.cuda_layers import RECURRENT, cudnn, dtype, peak, products
from benchmarks.cuda_operations import ON_TENSOR_CORES, multiply_adds, points
from benchmarks.cuda_step import table as step_table
from benchmarks.eager_traffic import Operation, traffic
from benchmarks.show import grid
from lite_rtse_ext import reference

machine_code, network, plans, trace = map(of_tests, ("cuda.machine_code", "cuda.network", "cuda.plans", "cuda.trace"))
gates = of_tests("cuda.gates")
build = of_tests("simt.build")

PASSES = ("forward", "backward")
CASES: Mapping[str, Any] = {**network.CASES, **network.LAYERS}


def family(kernel: str) -> str:
    """Return the name of a kernel without namespaces and template arguments."""
    return kernel.split("<")[0].split("::")[-1]


def on_tensor_cores(kernel: str, families: Sequence[str] = ("pointwise",)) -> bool:
    """Return whether a kernel is of these families and multiplies on tensor cores.

    1x1 convolutions of two factors in one half type do, and nothing else in their kernels.
    """
    arguments = [word.strip() for word in kernel.partition("<")[2].rstrip(">").split(",")]
    return bool(family(kernel) in families and gates.on_tensor_cores(family(kernel), arguments))


def registers(operator: str, arch: int) -> dict[str, int]:
    """Return the registers of an operator's kernels by name, or an empty dictionary without the tools for it."""
    if machine_code.missing():
        return {}
    files = build.operator_sources(operator)
    machine_code.compile_all(files, [arch])
    return {kernel.qualified_name: kernel.registers for file in files for kernel in machine_code.kernels(file, arch)}


def _occupancy(launch: Any, device: DeviceFigures, in_use: Mapping[str, int]) -> float | None:
    if launch.kernel not in in_use:
        return None
    limits = harness.devices()[device.plan]
    shared = launch.shared_bytes + launch.static_shared_bytes
    blocks = plans.blocks_per_multiprocessor(limits, launch.threads, shared, in_use[launch.kernel])
    return float(blocks * launch.threads / limits.threads_per_sm)


def kernel_rows(calls: Any, what: str, device: DeviceFigures, blocks: int, in_use: Mapping[str, int]) -> list[Row]:
    """Model the kernels of a pass. All launches of one kernel form one row.

    Args:
        calls: the calls of the operator, from ``tests.cuda.network``.
        what: "forward" or "backward".
        device: the device of the launch plan.
        blocks: maximum number of blocks of a grid that are run. 0 runs all.
        in_use: registers by kernel.
    """
    name, arguments = calls.of(what)
    launches = trace.count(name, *arguments, device=device.plan, blocks=blocks)
    bands = any(on_tensor_cores(launch.kernel, ("cascade_forward", "cascade_gradient")) for launch in launches)
    wanted = multiply_adds(calls.operator, arguments, what == "backward", bands)
    together: dict[str, list[Any]] = {}
    for launch in launches:
        together.setdefault(launch.kernel, []).append(launch)
    rows = []
    for kernel, group in together.items():
        read = sum(launch.read_bytes + launch.parameter_bytes for launch in group)
        written = sum(launch.written_bytes for launch in group)
        # Kernels of one name that differ in their types share its operations by their launches.
        of_name = sum(family(launch.kernel) == family(kernel) for launch in launches)
        of_one = 2.0 * points(calls.operator, arguments) * len(group) / of_name
        flops, half_flops = of_one * wanted[family(kernel)], of_one * wanted.get(family(kernel) + ON_TENSOR_CORES, 0)
        if on_tensor_cores(kernel):
            flops, half_flops = 0.0, flops
        passes = sum(launch.total("passes", shared=True) for launch in group)
        blocks = max(launch.blocks for launch in group)
        meetings = sum(launch.arrivals / launch.blocks for launch in group)
        meeting_s = CLUSTER_MEETING_S if group[0].cluster > 1 else MEETING_S
        least, bound = floor(device, read + written, flops, passes, blocks, meetings, None, meeting_s, half_flops)
        occupancy, flops = _occupancy(group[0], device, in_use), flops + half_flops
        rows.append(Row(family(kernel), len(group), read, written, flops, passes, occupancy, least, bound, meetings))
    return rows


_MODULES: Mapping[str, Any] = {
    "causal_dwconv2d": lambda: reference.CausalDepthwiseConv2d(64, 7),
    "conv_block 1 to 32": lambda: reference.ConvBlock(1, 32),
    "conv_block 32 to 32": lambda: reference.ConvBlock(32, 32),
    "multi_order_conv": reference.MultiOrderConv,
    "mask_residual": reference.MaskResidual,
    "norm_prelu 16": lambda: nn.Sequential(nn.BatchNorm2d(16), nn.PReLU(16)),
}


def eager_operations(case: str, calls: Any, what: str) -> list[Operation]:
    """Return the operations of the reference's eager graph. The backward pass has the gradients of all inputs."""
    with torch.device("meta"):
        module: nn.Module = _MODULES[case.removesuffix(f" {network.HALF}")]().to(calls.forward[0].dtype)
    signals = [tensor for tensor in calls.forward if isinstance(tensor, torch.Tensor)]
    if calls.operator != "mask_residual":
        signals = signals[:1]  # the others are parameters, which the module has itself
    return traffic(module, [signal.clone().requires_grad_() for signal in signals], what == "backward")


def model(
    case: str, what: str, device: DeviceFigures, batch: int, frames: int, blocks: int, in_use: Mapping[str, int]
) -> Model:
    """Model one pass of a case on a device. For ``blocks`` and ``in_use`` see :func:`kernel_rows`."""
    calls = CASES[case](batch, frames, torch.float32)
    kernels = kernel_rows(calls, what, device, blocks, in_use)
    if calls.operator in RECURRENT:
        pytorch = eager_rows(products(calls, what), device, peak(calls, device))
        cudnns, stored = [cudnn(calls, device), *pytorch], str(dtype(calls)).removeprefix("torch.")
        return Model(case, what, device.name, batch, frames, [*kernels, *pytorch], cudnns, stored)
    stored_in = calls.forward[0].dtype
    most = device.half_peak if stored_in.itemsize == 2 else None
    eager = eager_rows(eager_operations(case, calls, what), device, most)
    return Model(case, what, device.name, batch, frames, kernels, eager, str(stored_in).removeprefix("torch."))


def _cells(row: Row) -> list[str]:
    return [
        row.kernel,
        str(row.launches),
        f"{row.read_bytes / 1e6:.1f}",
        f"{row.written_bytes / 1e6:.1f}",
        f"{row.flops / 1e9:.2f}",
        "" if row.passes is None else f"{row.passes / 1e6:.2f}",
        "" if row.occupancy is None else f"{100 * row.occupancy:.0f} %",
        f"{row.meetings:.0f}" if row.meetings else "",
        f"{row.floor_s * 1e6:.0f}",
        row.bound,
    ]


def _sum(title: str, rows: Sequence[Row]) -> list[str]:
    read, written = sum(row.read_bytes for row in rows), sum(row.written_bytes for row in rows)
    launches, flops = sum(row.launches for row in rows), sum(row.flops for row in rows)
    return [title, str(launches), f"{read / 1e6:.1f}", f"{written / 1e6:.1f}", f"{flops / 1e9:.2f}", "", "", "",
            f"{seconds(rows) * 1e6:.0f}", ""]  # fmt: skip


HEADINGS = ["model", "launches", "MB read", "MB written", "GFLOP", "M passes", "occupancy", "meetings",
            "floor µs", "bound by"]  # fmt: skip


def table(found: Model) -> str:
    """Format the kernels and their sum, the sum of the eager graph, and the ratios."""
    rows = [HEADINGS, *map(_cells, found.kernels), _sum("all kernels", found.kernels), _sum("eager", found.eager)]
    ratio = moved(found.kernels) / moved(found.eager)
    times = seconds(found.kernels) / seconds(found.eager)
    title = f"{found.case}, {found.what}, {found.batch} × {found.frames} frames, {found.dtype}: {found.device} (model)"
    return f"{title}\n{grid(rows)}\nof eager's bytes {ratio:.2f}, of eager's floor {times:.2f}"


def training_step(models: Sequence[Model], device: str, case: str) -> str:
    """Format the bytes of forward and backward together, beside those of the eager graph."""
    both = [m for m in models if (m.device, m.case) == (device, case)]
    fused, eager = (sum(moved(rows) for rows in side) for side in ([m.kernels for m in both], [m.eager for m in both]))
    megabytes = f"{fused / 1e6:.0f} of eager's {eager / 1e6:.0f} MB, {fused / eager:.2f}"
    return f"{case}, training step, {device} (model): {megabytes}"


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but is {text}")
    return value


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda_model", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batch", type=_positive, default=16, help="utterances (16)")
    parser.add_argument("--frames", type=_positive, default=250, help="frames of 16 ms each (250)")
    parser.add_argument("--blocks", type=_positive, default=8, help="blocks of a grid to count, at most (8)")
    parser.add_argument("--case", choices=[*CASES], action="append", help="only this one; may be repeated")
    parser.add_argument("--device", choices=[d.name for d in DEVICES], action="append", help="likewise")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser.parse_args(arguments)


def _write(path: Path, models: Sequence[Model]) -> None:
    figures = {
        "note": "a model, nothing measured: see benchmarks/cuda_model.py",
        "devices": [asdict(device) for device in DEVICES],
        "models": [asdict(found) for found in models],
    }
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables. With ``--json``, also write the results to a file."""
    chosen = _options(arguments)
    if trace.missing():
        sys.exit(f"cuda_model: {trace.missing()}")
    cases = chosen.case or [*CASES]
    devices = [device for device in DEVICES if not chosen.device or device.name in chosen.device]
    print(
        "A model, nothing measured: what the kernels move and compute, and the least time that a device needs for it."
    )
    if machine_code.missing():
        print(f"Occupancy is left out: {machine_code.missing()}.")
    models = []
    for device in devices:
        print(f"\n{device.name}: {device.bandwidth / 1e9:.0f} GB/s, {device.peak / 1e12:.1f} TFLOP/s float32, "
              f"{device.multiprocessors} multiprocessors ({device.source})")  # fmt: skip
        for case in cases:
            in_use = registers(network.OPERATORS[case], int(device.plan.removeprefix("sm_")))
            for what in PASSES:
                models.append(model(case, what, device, chosen.batch, chosen.frames, chosen.blocks, in_use))
                print("\n" + table(models[-1]), flush=True)
            print("\n" + training_step(models, device.name, case), flush=True)
        if lines := step_table([found for found in models if found.device == device.name], device):
            print("\n" + lines, flush=True)
    if chosen.json:
        _write(chosen.json, models)


if __name__ == "__main__":
    main()
