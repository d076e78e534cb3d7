"""The devices of the model of the CUDA kernels, and the minimum time of a kernel on each."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.eager_traffic import Operation


def of_tests(name: str) -> Any:
    """Import a module of the tests. It is imported by name, so that type checkers do not check the tests."""
    return importlib.import_module(f"tests.{name}")


harness = of_tests("simt.harness")

MEETING_S = 1.43e-6
"""Time of one exchange between blocks through global memory, in seconds.

It is that of a barrier of a whole grid on a V100, with one block of 32 threads per multiprocessor: L. Zhang, M. Wahib,
H. Zhang and S. Matsuoka, "A Study of Single and Multi-device Synchronization Methods in Nvidia GPUs", IPDPS 2020,
figure 5. With 1024 threads per block it is 2.21 µs there.
"""

CLUSTER_MEETING_S = 640 / 1.98e9
"""Time of one barrier of a cluster, in seconds. It is an assumption: 640 clocks at 1.98 GHz.

An arrival that releases what was written waits for its stores to reach the second-level cache: 280 clocks. The arrival
and the answer then cross the network between multiprocessors, at 180 clocks each. That latency of the network is
published: W. Luo and others, "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture", IPDPS 2024. No published
time of the barrier itself was found.
"""

LAUNCH_S, SLOW_LAUNCH_S = 2.5e-6, 4e-6
"""Time of one of the short kernels that cuDNN launches for each frame of a layer, in seconds. Both are assumptions.

Alone the time from a launch to the start of its kernel is 2.4 µs on an H100: P. Vellaisamy and others, "Characterizing
and Optimizing LLM Inference Workloads on CPU-GPU Coupled Architectures", ISPASS 2025, table V.
"""

LAUNCHES = "launches"
"""The bound of a row whose floor is the time of its launches."""

CUDNN_LAUNCHES = 4
"""Kernels that cuDNN launches per frame of a layer and pass. It is half of the eight per frame that were counted on an
H200, forward and backward together, for an LSTM of 257 units."""


@dataclass(frozen=True)
class DeviceFigures:
    """Specification of a GPU.

    Args:
        name: name of the product.
        plan: device of its launch plan.
        bandwidth: bandwidth of global memory in bytes per second.
        peak: float32 operations per second.
        half_peak: operations per second of products of half types on tensor cores, with sums in float32.
        cores: float32 cores per multiprocessor.
        source: source of these numbers.
    """

    name: str
    plan: str
    bandwidth: float
    peak: float
    half_peak: float
    cores: int
    source: str

    @property
    def multiprocessors(self) -> int:
        return int(harness.devices()[self.plan].multiprocessors)

    @property
    def clock(self) -> float:
        """Clock in Hz. At the peak each core does two operations per clock."""
        return self.peak / (2 * self.cores * self.multiprocessors)

    @property
    def shared_passes(self) -> float:
        """Passes through shared memory per second. A pass moves 128 bytes per clock and multiprocessor."""
        return self.clock * self.multiprocessors


DEVICES = (
    DeviceFigures("A100", "sm_80", 1.555e12, 19.5e12, 312e12, 64, "A100 data sheet, SXM4 40 GB"),
    DeviceFigures(
        "H100", "sm_90", 3.35e12, 66.9e12, 989e12, 128, "H100 data sheet and architecture white paper, SXM5 80 GB"
    ),
    DeviceFigures("RTX 4090", "sm_89", 1.008e12, 82.6e12, 165e12, 128, "Ada architecture white paper"),
)


@dataclass(frozen=True)
class Row:
    """All launches of one kernel in one pass, or all eager operations of one kind.

    ``occupancy`` is the number of resident threads of a multiprocessor divided by its maximum. ``None`` means unknown
    or not counted. ``meetings`` is how often a block waits for others.
    """

    kernel: str
    launches: int
    read_bytes: float
    written_bytes: float
    flops: float
    passes: float | None
    occupancy: float | None
    floor_s: float
    bound: str
    meetings: float = 0.0

    @property
    def bytes(self) -> float:
        return self.read_bytes + self.written_bytes


@dataclass(frozen=True)
class Model:
    """The model of one pass of a case on a device, for the CUDA kernels and for the eager graph."""

    case: str
    what: str
    device: str
    batch: int
    frames: int
    kernels: list[Row]
    eager: list[Row]
    dtype: str = "float32"


def floor(
    device: DeviceFigures,
    moved: float,
    flops: float,
    passes: float,
    blocks: int | None = None,
    meetings: float = 0.0,
    peak: float | None = None,
    meeting_s: float = MEETING_S,
    half_flops: float = 0.0,
) -> tuple[float, str]:
    """Return the minimum time in seconds, and the resource that bounds it.

    Args:
        device: the device.
        moved: bytes.
        flops: operations.
        passes: passes through shared memory.
        blocks: blocks of the grid. Fewer than the multiprocessors use only so many of them. None means many.
        meetings: exchanges between blocks, one after another. No block computes meanwhile.
        peak: operations per second. None means the device's in float32.
        meeting_s: time of one exchange in seconds.
        half_flops: operations on tensor cores, which run beside the others.
    """
    share = 1.0 if blocks is None else min(1.0, blocks / device.multiprocessors)
    times = {
        "memory": moved / device.bandwidth,
        "arithmetic": max(flops / (peak or device.peak), half_flops / device.half_peak) / share,
        "shared memory": passes / (device.shared_passes * share),
    }
    bound = max(times, key=lambda name: times[name])
    waiting = meetings * meeting_s
    return times[bound] + waiting, bound if times[bound] >= waiting else "meetings"


def eager_rows(operations: Sequence[Operation], device: DeviceFigures, peak: float | None = None) -> list[Row]:
    """Model an eager graph. All operations of one name form one row, whose floor is the sum of their floors.

    For ``peak`` see :func:`floor`.
    """
    together: dict[str, list[Operation]] = {}
    for operation in operations:
        together.setdefault(operation.name, []).append(operation)
    rows = []
    for name, group in together.items():
        read, written = sum(o.read_bytes for o in group), sum(o.written_bytes for o in group)
        floors = [floor(device, o.read_bytes + o.written_bytes, o.flops, 0.0, peak=peak) for o in group]
        longest = max(floors)[1]
        flops = sum(o.flops for o in group)
        rows.append(Row(name, len(group), read, written, flops, None, None, sum(s for s, _ in floors), longest))
    return rows


def seconds(rows: Sequence[Row]) -> float:
    """Return the sum of the floors."""
    return sum(row.floor_s for row in rows)


def moved(rows: Sequence[Row]) -> float:
    """Return the bytes of all rows."""
    return sum(row.bytes for row in rows)
