"""The CUDA kernels of a GRU's recurrence, run by the emulator: lanes that have a unit each, and groups of blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from lite_rtse_ext import reference

from ..compare import assert_agrees, assert_all_same
from . import harness
from .test_lstm import broken

pytestmark = harness.needs("gru")

OPERATOR = "gru"
FORWARD = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}  # from float64
BACKWARD = {torch.float64: 1e-13, torch.float32: 5e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}
SMALL, USUAL_SHARED = 16 << 10, 99 << 10


class Size(NamedTuple):
    """A call. The less shared memory a block has, the fewer units, so that blocks have to meet."""

    batch: int
    frames: int
    units: int
    directions: int = 2
    bias: bool = True
    state: bool = True
    shared: int = USUAL_SHARED
    multiprocessors: int = 82
    sm: int = 86


LANES = (
    Size(1, 1, 1, directions=1),
    Size(9, 7, 8),
    Size(5, 6, 11, bias=False),
    Size(3, 5, 32, directions=1, state=False),
)
ALONE = (Size(5, 4, 36), Size(9, 3, 33, directions=1, multiprocessors=2))
TOGETHER = (
    Size(5, 4, 36, shared=SMALL),
    Size(10, 3, 33, shared=SMALL, multiprocessors=12, bias=False),  # two groups of three blocks take turns
    Size(3, 2, 257, directions=1, state=False),
)
MEETING, TURNS = TOGETHER[0], TOGETHER[1]
CLUSTERS = (
    Size(5, 4, 36, shared=30 << 10, sm=90),
    Size(10, 3, 33, shared=SMALL, multiprocessors=12, bias=False, state=False, sm=120),  # clusters take turns
)


def device(size: Size) -> harness.Device:
    found = harness.Device.from_buffer_copy(harness.devices()["sm_86"])
    found.multiprocessors, found.shared_per_block, found.sm = size.multiprocessors, size.shared, size.sm
    return found


def values(size: Size, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(size.units)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    rows, units, each = 3 * size.units, size.units, range(size.directions)

    def random(*sizes: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(sizes, generator=generator) * scale).to(dtype)

    return {
        "input": [random(size.batch, size.frames, rows).to(wide) for _ in each],
        "weight_hh": [random(rows, units, scale=2 / units**0.5) for _ in each],
        "bias_ih": [random(rows) for _ in each] if size.bias else [],
        "bias_hh": [random(rows) for _ in each] if size.bias else [],
        "h0": random(size.directions, size.batch, units) if size.state else None,
    }


def _leaves(value: Any) -> Any:
    if isinstance(value, list):
        return [_leaves(t) for t in value]
    return None if value is None else value.double().requires_grad_()


def exact(given: dict[str, Any]) -> tuple[Tensor, list[Tensor], dict[str, Any]]:
    """y and h before each frame in float64, and the tensors that they were computed from."""
    wide: dict[str, Any] = {name: _leaves(value) for name, value in given.items()}
    outputs, before = [], []
    for d, (x, weight) in enumerate(zip(wide["input"], wide["weight_hh"], strict=True)):
        rows, units = weight.shape
        eye = torch.eye(rows, dtype=torch.float64)
        biases = [wide["bias_ih"][d], wide["bias_hh"][d]] if wide["bias_ih"] else []
        h0 = None if wide["h0"] is None else wide["h0"][d : d + 1]
        y = reference.gru(x.flip(1) if d else x, [eye, weight], biases, h0)
        first = x.new_zeros(len(x), 1, units) if h0 is None else h0[0][:, None]
        shifted = torch.cat([first, y[:, :-1]], 1)
        outputs.append(y.flip(1) if d else y)
        before.append(shifted.flip(1) if d else shifted)
    return torch.cat(outputs, 2), before, wide


def check(size: Size, only: str = "", dtype: torch.dtype = torch.float32, **options: Any) -> None:
    """Both passes against the formula in float64."""
    given = values(size, dtype)
    options = {"device": device(size)} | options
    expected, before, wide = exact(given)
    y, kept = harness.run(OPERATOR, given, **options)
    assert_agrees(y, expected.detach(), FORWARD[dtype], "y")
    if only == "forward":
        return
    dy = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    state = [wide["h0"]] if size.state else []
    grads = torch.autograd.grad(expected, [*wide["input"], *wide["weight_hh"], *state], dy.double())
    found = harness.run(f"{OPERATOR}_backward", (dy, y, kept, size.state), given, **options)
    dinput, dstate, found_before, dh0 = found
    for d in range(size.directions):
        assert_agrees(dinput[d], grads[d], BACKWARD[dtype], f"dinput[{d}]")
        assert_agrees(found_before[d], before[d].detach(), FORWARD[dtype], f"before[{d}]")
        dweight = dstate[d].double().flatten(0, 1).T @ found_before[d].double().flatten(0, 1)
        assert_agrees(dweight, grads[size.directions + d], BACKWARD[dtype], f"dweight_hh[{d}]")
    if size.state:
        assert_agrees(dh0, grads[-1], BACKWARD[dtype], "dh0")


def check_schedules(size: Size, only: str, **options: Any) -> None:
    for seed in range(4):
        check(size, only, seed=seed, **options)


@pytest.mark.parametrize("size", [*LANES, *ALONE, *TOGETHER], ids=str)
def test_agrees_with_the_formula(size: Size) -> None:
    check(size, seed=size.units)


@pytest.mark.parametrize("size", CLUSTERS, ids=str)
def test_clusters_agree_with_the_formula(size: Size) -> None:
    check(size, seed=size.units)


@pytest.mark.parametrize("dtype", harness.DTYPES, ids=str)
def test_clusters_and_counters_give_the_same_bits(dtype: torch.dtype) -> None:
    results = []
    for sm in (86, 90):
        size = CLUSTERS[0]._replace(sm=sm, shared=SMALL if sm == 86 else CLUSTERS[0].shared)
        given, options = values(size, dtype), {"device": device(size), "seed": sm}
        (launch,), _ = harness.launches(OPERATOR, given, device=device(size))
        assert (launch.cluster > 1) == (sm == 90)
        y, kept = harness.run(OPERATOR, given, **options)
        dy = torch.ones_like(y)
        found = harness.run(f"{OPERATOR}_backward", (dy, y, kept, True), given, **options)
        results.append([y, kept, *harness.flat(found)])
    names = [str(i) for i in range(len(results[0]))]
    assert_all_same(*results, names)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [LANES[1], Size(5, 4, 20), ALONE[0], MEETING], ids=str)
def test_other_types(size: Size, dtype: torch.dtype) -> None:
    check(size, dtype=dtype)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [LANES[1], ALONE[0], MEETING, TURNS], ids=str)
def test_any_schedule(size: Size, seed: int) -> None:
    check(size, seed=seed)


@pytest.mark.parametrize("size", [LANES[1], MEETING], ids=str)
def test_the_same_bits_for_every_schedule(size: Size) -> None:
    given = values(size)
    first, second = (harness.run(OPERATOR, given, device=device(size), seed=seed) for seed in (1, 2))
    assert_all_same(first, second, ["y", "kept"])


def kernels(size: Size, dtype: torch.dtype = torch.float32) -> list[tuple[str, int]]:
    """The kernel's name and the number of blocks."""
    found, _ = harness.launches(OPERATOR, values(size, dtype), device=device(size))
    return [(launch.kernel, launch.grid[0]) for launch in found]


def test_each_size_has_the_kernel_that_these_tests_mean() -> None:
    for sizes, name in ((LANES, "gru_lanes_forward"), ((*ALONE, *TOGETHER), "gru_groups_forward")):
        for size in sizes:
            ((kernel, _),) = kernels(size)
            assert name in kernel
    assert [kernels(size)[0][1] for size in ALONE] == [4, 2]
    assert [kernels(size)[0][1] for size in TOGETHER] == [12, 12, 17]


def test_what_is_not_wanted_is_not_written() -> None:
    given = values(LANES[1])
    y, none = harness.run(OPERATOR, given, False)
    assert none is None
    assert_all_same([y], harness.run(OPERATOR, given)[:1], ["y"])


@pytest.mark.parametrize("units", [8, 40])
def test_an_empty_batch(units: int) -> None:
    y, _ = harness.run(OPERATOR, values(Size(0, 3, units)))
    assert y.shape == (0, 3, 2 * units)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(
    "size", [LANES[2], ALONE[1], Size(5, 3, 36, shared=SMALL), Size(5, 3, 36, shared=SMALL, sm=90)], ids=str
)
def test_no_access_out_of_bounds(size: Size, shift: int) -> None:
    check(size, flavour="asan", shift=shift)


@pytest.mark.parametrize(
    "size", [Size(5, 3, 11), Size(3, 3, 36), Size(3, 3, 36, shared=SMALL), Size(3, 3, 36, shared=SMALL, sm=90)], ids=str
)
def test_no_data_race(size: Size) -> None:
    check(size, flavour="tsan")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(harness.EmulationError, match="error 9"):
        harness.run(OPERATOR, values(Size(1, 2, 1024)), device="sm_75")


KERNELS, LANE_KERNELS, CELL = "gru/gru_groups.cuh", "gru/gru_lanes.cuh", "gru/gru.cuh"
COMMON = "common/groups.cuh"
# The pass that is enough to show it, or both; a size that does; the file; a text in it; what replaces that.
MUTANTS = {
    "lanes do not wait for h": (
        "forward",
        LANES[1],
        LANE_KERNELS,
        "      h[(i + 1) % 2][lane] = mine;\n      __syncwarp();\n",
        "      h[(i + 1) % 2][lane] = mine;\n",
    ),
    "lanes do not wait for gradients": (
        "",
        LANES[1],
        LANE_KERNELS,
        "cell.dstate[gate];\n      __syncwarp();\n",
        "cell.dstate[gate];\n",
    ),
    "lanes read another sequence": ("forward", LANES[1], LANE_KERNELS, "h[i % 2] + at.begin", "h[i % 2]"),
    "lanes beyond the units": (
        "forward",
        LANES[2],
        LANE_KERNELS,
        "there = sequence < a.batch && unit < a.units",
        "there = sequence < a.batch",
    ),
    "frames read too late": (
        "",
        LANES[1],
        LANE_KERNELS,
        "read_frame(kept[i], back + kGruAhead)",
        "read_frame(kept[i], back)",
    ),
    "no barrier behind a frame": (
        "forward",
        ALONE[0],
        KERNELS,
        "      b.meet(g);\n      if (!through_memory) continue;\n",
        "      if (through_memory) b.meet(g);\n      if (!through_memory) continue;\n",
    ),
    "one vector handed over": ("forward", TURNS, KERNELS, "      turn = 1 - turn;\n", ""),
    "no meeting": (
        "forward",
        MEETING,
        KERNELS,
        "      b.meet(g);\n      if (!through_memory) continue;\n",
        "      if (!through_memory) continue;\n",
    ),
    "no meeting backward": (
        "",
        MEETING,
        KERNELS,
        "      b.meet(g);\n      if (!Meets::kDirect && g.meets()) {",
        "      if (!Meets::kDirect && g.meets()) {",
    ),
    "another direction's counter": (
        "forward",
        MEETING,
        COMMON,
        "arrive_and_wait(g.arrived + group,",
        "arrive_and_wait(g.arrived + group % g.groups,",
    ),
    "h to one block of a cluster": (
        "forward",
        CLUSTERS[1],
        KERNELS,
        "*of_cluster_block(handed, rank) = h;",
        "*of_cluster_block(handed, 0) = h;",
    ),
    "one set of vectors of a cluster": (
        "",
        CLUSTERS[1],
        KERNELS,
        "b.vectors + step % Meets::kTurns * kS * kGruGates * g.pitch;",
        "b.vectors;",
    ),
    "writes in the last frame": (
        "forward",
        CLUSTERS[1],
        KERNELS,
        "rank < g.blocks && step + 1 < a.frames",
        "rank < g.blocks",
    ),
    "stale parts": (
        "",
        ALONE[0],
        COMMON,
        "lane / 8) * Gates + gate] = sum;\n  }\n  __syncthreads();\n",
        "lane / 8) * Gates + gate] = sum;\n  }\n",
    ),
    "gradient of r without h": ("", LANES[1], CELL, "by_n * k.state * k.r", "by_n * k.r"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name: str, tmp_path: Path) -> None:
    only, size, file, original, replacement = MUTANTS[name]
    cuda = broken(tmp_path, file, original, replacement)
    with pytest.raises((AssertionError, harness.EmulationError)):
        check_schedules(size, only, folder=cuda, flavour="quick")
