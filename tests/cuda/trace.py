"""Counts what the CUDA kernels do to memory, by running them in the emulator with every access recorded.

    for launch in count("multi_order_conv", x, weights, biases, device="sm_90", blocks=16):
        print(launch.kernel, launch.read_bytes, [site.worst for site in launch.sites if site.shared])

The kernels compute nothing of use meanwhile: buffers have no contents, so tensors may be on torch's ``meta`` device and
of any size, and where ``blocks`` is given, only so many blocks of a grid are run, evenly spread, and counts scaled up
to the whole of it. trace.cpp says how accesses are counted.

Accesses are those of the source, as g++ compiles it without keeping anything from memory in registers that the source
reads twice: a load of 16 bytes is one access, as it is on the device.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ..simt import build, harness
from ..simt.calls import prepare
from .cache import produce, run

HERE = Path(__file__).parent
# Accesses stay as wide as the source has them, and kernels are launched by way of trace.cpp.
KERNEL_FLAGS = ("-O1", "-g1", "-fsanitize=thread", "-fno-tree-sra", "-fno-tree-fre", "-fno-tree-pre")
# Short loops are unrolled, as nvcc unrolls them, so that lanes which skip a turn do not fall behind the others.
KERNEL_FLAGS += ("-fpeel-loops", "-Drun_grid=traced_run_grid", "-Dcluster_arrive=traced_cluster_arrive")
KERNEL_FLAGS += ("-Dcluster_wait=traced_cluster_wait", "-Dmap_shared=traced_map_shared")


class _Launch(ctypes.Structure):
    _fields_ = (
        ("kernel", ctypes.c_char * 256),
        *(
            (name, ctypes.c_int64)
            for name in (
                "blocks",
                "blocks_run",
                "threads",
                "shared_bytes",
                "static_shared_bytes",
                "read_bytes",
                "written_bytes",
                "parameter_bytes",
                "arrivals",
                "cluster",
                "remote_bytes",
            )
        ),
    )


SITE_FIELDS: tuple[str, ...] = ("launch", "place", "part", "width", "shared", "parameter", "store")
COUNTS: tuple[str, ...] = ("requests", "accesses", "passes", "fewest", "worst")


class _Site(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in (*SITE_FIELDS, *COUNTS))


@dataclass(frozen=True)
class Site:
    """A load or store in the source of a kernel: of shared memory, or else of global memory, where it may be of a
    ``parameter`` of the operator.

    Counted over the blocks that were run: ``requests`` of warps and ``accesses`` of their threads, each of ``width``
    bytes; ``passes`` through shared memory, or sectors of 32 bytes of global memory; of shared memory also the
    ``fewest``, if lanes that are served together never wanted different words of one bank, and how many such words
    there were at the ``worst``.
    """

    where: str
    shared: bool
    parameter: bool
    store: bool
    width: int
    requests: int
    accesses: int
    passes: int
    fewest: int
    worst: int

    @property
    def bytes(self) -> int:
        return self.accesses * self.width

    @property
    def conflict(self) -> float:
        """Passes through shared memory for each that would be needed without bank conflicts."""
        return self.passes / self.fewest


@dataclass(frozen=True)
class Launch:
    """One kernel that was enqueued; counts are those of the whole grid, scaled up where it was not run whole.

    Bytes of global memory: what each block reads and writes, every byte once a block, and of the operator's parameters,
    which stay in the cache, every byte once.
    """

    kernel: str
    blocks: int
    blocks_run: int
    threads: int
    shared_bytes: int  # dynamic
    static_shared_bytes: int
    read_bytes: float
    written_bytes: float
    parameter_bytes: float
    arrivals: float  # at counters, or at the barriers of clusters, that blocks wait for
    cluster: int  # blocks of one
    remote_bytes: float  # written to the shared memory of the blocks of a cluster
    sites: tuple[Site, ...]

    @property
    def scale(self) -> float:
        return self.blocks / self.blocks_run

    def total(self, count: str, shared: bool, store: bool | None = None) -> float:
        """The sum of a count over the sites, for the whole grid."""
        chosen = (s for s in self.sites if s.shared == shared and (store is None or s.store == store))
        return self.scale * sum(float(getattr(site, count)) for site in chosen)


def missing() -> str:
    """Why nothing can be counted on this machine; empty if all is well."""
    if not build.missing() and build.is_clang(build.compiler()):
        return f"accesses are recorded in kernels built by g++, but SIMT_CXX is {build.compiler()}"
    return build.missing()


def needs(operator: str | None = None) -> pytest.MarkDecorator:
    """A mark that skips tests where the operator's accesses cannot be counted, with the reason."""
    return harness.needs(operator) if not missing() else pytest.mark.skip(reason=missing())


@cache
def _library(operator: str, folder: Path) -> Path:
    sources = build.operator_sources(operator, folder)
    if not sources:
        raise build.BuildError(f"there is no {operator}*.cu in {folder}")
    kernels = [build.compile_object(source, KERNEL_FLAGS) for source in sources]
    prefix = build.struct(operator)
    names = " ".join(f"X({name})" for name in sorted(build.dynamic_shared_names(sources)))
    flags = ["-O2", f"-DSIMT_OPERATOR={prefix}", f"-DSIMT_DYNAMIC_SHARED(X)={names}"]
    support = [build.compile_object(build.HERE / "capi.cpp", flags)]
    support += [build.compile_object(source, ["-O2"]) for source in (*build.EMULATOR, HERE / "trace.cpp")]
    objects = [*kernels, *support]
    command: list[str | Path] = [
        build.compiler(),
        "-shared",
        "-Wl,-Bsymbolic",
        "-Wl,--no-undefined",
        *objects,
        "-ldl",
        "-pthread",
    ]
    return produce(f"{operator}-trace", ".so", command, objects)


@cache
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.simt_run.restype = ctypes.c_char_p
    library.trace_launches.restype = library.trace_sites.restype = ctypes.c_int64
    return library


def _read(function: Any, structure: Any) -> Any:
    records = (structure * function(None, ctypes.c_int64(0)))()
    function(records, ctypes.c_int64(len(records)))
    return records


@cache
def _places(library: Path, addresses: tuple[int, ...]) -> dict[int, str]:
    """``file:line`` for places in the code, from the outermost function that was compiled into the kernel inwards."""
    words = [f"{address - 1:#x}" for address in addresses]  # the call, not what it returns to
    if not words:
        return {}
    text = run(["addr2line", "-a", "-i", "-s", "-e", library, *words])
    found = {}
    for block in text.split("0x")[1:]:
        address, *frames = block.splitlines()
        found[int(address, 16) + 1] = " < ".join(frame.split(" ")[0] for frame in frames)
    return found


def count(
    name: str,
    *arguments: Any,
    device: str | harness.Device = "sm_86",
    blocks: int = 0,
    folder: Path = build.CUDA_SOURCES,
) -> list[Launch]:
    """What each kernel does that a call of an operator, or of its backward, enqueues.

    Args:
        name: the operator's; with ``_backward`` its backward.
        arguments: as :func:`tests.simt.harness.run` takes them. Only their sizes matter.
        device: as there.
        blocks: how many blocks of a grid to run at most; 0: all of them.
        folder: where the .cu files are.

    Raises:
        harness.EmulationError: what the emulator reported.
    """
    operator, call, _ = prepare(name, arguments)
    path = _library(operator, folder)
    library = _load(path)
    limits = harness.devices()[device] if isinstance(device, str) else device
    library.trace_begin(ctypes.c_int64(blocks))
    request = harness._request(call, limits, seed=0, shift=0, execute=True)
    fault = library.simt_run(ctypes.byref(request)).decode()
    if fault:
        raise harness.EmulationError(fault)
    launches, sites = _read(library.trace_launches, _Launch), _read(library.trace_sites, _Site)
    places = _places(path, tuple(sorted({site.place for site in sites})))
    of_launch = defaultdict(list)
    for site in sites:
        counts = {field: getattr(site, field) for field in COUNTS}
        kind = [bool(flag) for flag in (site.shared, site.parameter, site.store)]
        of_launch[site.launch].append(Site(places[site.place], *kind, site.width, **counts))
    return [_launch(record, _together(of_launch[i])) for i, record in enumerate(launches)]


def _together(sites: Sequence[Site]) -> list[Site]:
    """One site for each load or store in the source: the turns of an unrolled loop are several places in the code."""
    found: dict[tuple[object, ...], Site] = {}
    for site in sites:
        key = (site.where, site.shared, site.parameter, site.store, site.width)
        same = found.get(key)
        if same:
            sums = {name: getattr(same, name) + getattr(site, name) for name in COUNTS if name != "worst"}
            site = replace(site, worst=max(same.worst, site.worst), **sums)
        found[key] = site
    return list(found.values())


def _launch(record: _Launch, sites: Sequence[Site]) -> Launch:
    scale = record.blocks / record.blocks_run
    return Launch(
        record.kernel.decode(),
        record.blocks,
        record.blocks_run,
        record.threads,
        record.shared_bytes,
        record.static_shared_bytes,
        scale * record.read_bytes,
        scale * record.written_bytes,
        record.parameter_bytes,
        scale * record.arrivals,
        record.cluster,
        scale * record.remote_bytes,
        tuple(sites),
    )
