"""The CUDA kernels of an LSTM's recurrence whose groups of blocks are clusters, run by the emulator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ..compare import assert_all_same
from . import harness
from .test_lstm import (
    COMMON,
    HALF_TYPES,
    HEADER,
    KERNELS,
    OPERATOR,
    Size,
    broken,
    check,
    check_schedules,
    cotangents,
    device,
    values,
)

pytestmark = harness.needs("lstm")

CLUSTERS = (
    Size(5, 4, 20, sm=90, shared=16 << 10),  # two clusters of two blocks
    Size(5, 4, 20, sm=90, shared=16 << 10, reverse=True, bias=False),
    Size(9, 3, 37, multiprocessors=4, state=False, sm=120, shared=24 << 10),  # one cluster takes three chunks
    Size(3, 1, 20, sm=90, shared=16 << 10),  # nothing is handed over
    Size(2, 3, 30, bias=False, sm=90, shared=9 << 10),  # a cluster of eight blocks
)
CLUSTER = CLUSTERS[0]


def narrow(size: Size) -> Size:
    """A call in a half type with blocks of as many units, or less, as in float32."""
    return size._replace(shared=size.shared * 9 // 16)


def of_type(size: Size, dtype: torch.dtype) -> Size:
    return size if dtype == torch.float32 else narrow(size)


@pytest.mark.parametrize("size", CLUSTERS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, *HALF_TYPES], ids=str)
def test_clusters_agree_with_the_formula(size: Size, dtype: torch.dtype) -> None:
    size = of_type(size, dtype)
    (launch,), workspace = harness.launches(OPERATOR, values(size, dtype), device=device(size))
    assert 1 < launch.cluster <= 8
    assert launch.grid[0] % launch.cluster == 0
    assert workspace == 0
    check(size, dtype=dtype, seed=size.units)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_clusters_and_counters_give_the_same_bits(dtype: torch.dtype) -> None:
    """Blocks have other units, and no sum depends on that."""
    size = of_type(CLUSTER, dtype)
    given, by = values(size, dtype), cotangents(size, dtype)
    results = []
    for sm in (86, 90):
        options = {"device": device(size._replace(sm=sm)), "seed": sm}
        (launch,), _ = harness.launches(OPERATOR, given, device=options["device"])
        assert (launch.cluster > 1, launch.grid[0] > 2) == (sm == 90, True)
        y, h, c, gates, cells = harness.run(OPERATOR, given, **options)
        back = harness.run(f"{OPERATOR}_backward", (*by, y, gates, cells, True), given, **options)
        results.append([y, h, c, gates, cells, *back])
    assert_all_same(*results, ["y", "h", "c", "gates", "cells", "dz", "before", "dh0", "dc0"])


@pytest.mark.parametrize("seed", range(6))
def test_any_schedule(seed: int) -> None:
    check(CLUSTER, seed=seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shift", [0, 1])
def test_no_access_out_of_bounds(shift: int, dtype: torch.dtype) -> None:
    check(of_type(CLUSTER._replace(frames=3), dtype), dtype=dtype, flavour="asan", shift=shift)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_no_data_race(dtype: torch.dtype) -> None:
    check(of_type(CLUSTER._replace(batch=3, frames=3), dtype), dtype=dtype, flavour="tsan")


# Of clusters: the pass; the file; a text in it; what replaces that; how it is built.
CLUSTER_MUTANTS = {
    "missing arrive": ("forward", HEADER, "  __cluster_barrier_arrive();\n", "", "quick"),
    "missing wait": ("forward", HEADER, "  __cluster_barrier_wait();\n", "", "quick"),
    "relaxed arrival": ("forward", HEADER, "__cluster_barrier_arrive()", "__cluster_barrier_arrive_relaxed()", "tsan"),
    "another block's vectors": (
        "forward",
        KERNELS,
        "*of_cluster_block(to + s * g.pitch + unit, rank) =",
        "*of_cluster_block(to + s * g.pitch + unit, 0) =",
        "quick",
    ),
    "one set of vectors": (
        "forward",
        KERNELS,
        "b.vectors + (step + 1) % Meets::kTurns",
        "b.vectors + step % Meets::kTurns",
        "quick",
    ),
    "one set of vectors backward": (
        "",
        KERNELS,
        "T* const vectors = b.vectors + step % Meets::kTurns * kS * kG * g.pitch;",
        "T* const vectors = b.vectors;",
        "quick",
    ),
    "no barrier before the first frame": (
        "forward",
        COMMON,
        "  __device__ void begin() { cluster_barrier(); }",
        "  __device__ void begin() { __syncthreads(); }",
        "quick",
    ),
    "writes in the last frame": (
        "forward",
        KERNELS,
        "rank < g.blocks && step + 1 < a.frames",
        "rank < g.blocks",
        "quick",
    ),
    "no meeting": (
        "forward",
        COMMON,
        "meet(const Groups&, int) { cluster_barrier(); }",
        "meet(const Groups&, int) { __syncthreads(); }",
        "quick",
    ),
    "gates to one block": ("", COMMON, "rank < g.blocks; ++rank", "rank < 1; ++rank", "quick"),
}


@pytest.mark.parametrize("name", CLUSTER_MUTANTS)
def test_mutants_of_clusters_are_caught(name: str, tmp_path: Path) -> None:
    only, file, original, replacement, flavour = CLUSTER_MUTANTS[name]
    cuda = broken(tmp_path, file, original, replacement)
    size = Size(3, 3, 20, sm=90, shared=16 << 10) if flavour == "tsan" else Size(9, 3, 20, 4, sm=90, shared=16 << 10)
    with pytest.raises((AssertionError, harness.EmulationError)):
        check_schedules(size, only, folder=cuda, flavour=flavour)
