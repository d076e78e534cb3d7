"""The CUDA kernels of an LSTM's recurrence, run by the emulator: blocks that wait for one another once a frame.

They meet by a counter. ``test_lstm_clusters.py`` has those that meet at the barrier of a cluster.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from ..compare import assert_agrees, assert_all_same
from . import build, harness
from .mutants import replace_once

pytestmark = harness.needs("lstm")

OPERATOR = "lstm"
FORWARD = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}  # from float64
BACKWARD = {torch.float32: 5e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}
HALF_TYPES = (torch.float16, torch.bfloat16)


class Size(NamedTuple):
    """A call; the fewer multiprocessors, the fewer groups of blocks run at the same time.

    The less shared memory a block has, the fewer units, so that blocks have to meet.
    """

    batch: int
    frames: int
    units: int
    multiprocessors: int = 82
    bias: bool = True
    state: bool = True
    reverse: bool = False
    shared: int = 11 << 10
    sm: int = 86


SIZES = (
    Size(1, 1, 1),
    Size(1, 5, 4, bias=False, state=False),
    Size(5, 4, 20),  # two groups of two blocks
    Size(5, 4, 20, reverse=True),
    Size(9, 3, 37, multiprocessors=3, state=False, shared=24 << 10),  # one group takes three chunks
    Size(4, 2, 257, bias=False, shared=99 << 10),
    Size(5, 4, 20, shared=99 << 10),  # groups of one block
)
USUAL = SIZES[2]


def narrow(size: Size) -> Size:
    """A call in a half type whose blocks meet as those of float32 do, since they have less shared memory."""
    return size._replace(shared=size.shared * 2 // 3)


def device(size: Size) -> harness.Device:
    found = harness.Device.from_buffer_copy(harness.devices()["sm_86"])
    found.multiprocessors, found.shared_per_block, found.sm = size.multiprocessors, size.shared, size.sm
    return found


def values(size: Size, dtype: torch.dtype = torch.float32) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(size.units)

    def random(*sizes: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(sizes, generator=generator) * scale).to(dtype)

    units, gates = size.units, 4 * size.units
    biases = [random(gates) if size.bias else None for _ in range(2)]
    state = [random(size.batch, units) if size.state else None for _ in range(2)]
    return [random(size.batch, size.frames, gates), random(gates, units, scale=2 / units**0.5), *biases, *state]


def exact(given: Sequence[Tensor | None], reverse: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y, h and c, then the gates' values before their activation and h before each frame."""
    zx, weight, *biases, h, c = given
    assert zx is not None
    assert weight is not None
    zero = zx.new_zeros(len(zx), weight.shape[1])
    h, c = zero if h is None else h, zero if c is None else c
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    frames = zx.unbind(1)
    for frame in reversed(frames) if reverse else frames:
        before = h
        z = frame + h @ weight.T + sum(b for b in biases if b is not None)
        i, f, g, o = z.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        found.append((h, z, before))
    y, z, before = (torch.stack(part[::-1] if reverse else part, 1) for part in zip(*found, strict=True))
    return y, h, c, z, before


def double(given: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [None if t is None else t.double().requires_grad_() for t in given]


def cotangents(size: Size, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = (size.batch, size.frames, size.units), (size.batch, size.units), (size.batch, size.units)
    return [torch.randn(s, generator=generator).to(dtype) for s in sizes]


def check(size: Size, only: str = "", dtype: torch.dtype = torch.float32, **options: Any) -> None:
    """Both passes against the formula in float64."""
    given = values(size, dtype)
    options = {"device": device(size)} | options
    wide = double(given)
    expected = exact(wide, size.reverse)
    y, h, c, gates, cells = harness.run(OPERATOR, given, size.reverse, **options)
    for name, found, wanted in zip(("y", "h", "c"), (y, h, c), expected[:3], strict=True):
        assert_agrees(found, wanted.detach(), FORWARD[dtype], name)
    if only == "forward":
        return
    by = cotangents(size, dtype)
    sources = [t for t in (wide[0], *wide[4:]) if t is not None]
    dz, *dstate = torch.autograd.grad(expected[:3], sources, [t.double() for t in by])
    passed = (*by, y, gates, cells, size.state)
    found_dz, before, *found_state = harness.run(f"{OPERATOR}_backward", passed, given, size.reverse, **options)
    assert_agrees(found_dz, dz, BACKWARD[dtype], "dz")
    assert_agrees(before, expected[4].detach(), FORWARD[dtype], "before")
    for name, found, wanted in zip(("dh0", "dc0"), found_state, dstate, strict=size.state):
        assert_agrees(found, wanted, BACKWARD[dtype], name)


def check_schedules(size: Size, only: str, **options: Any) -> None:
    for seed in range(3):
        check(size, only, seed=seed, **options)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_agrees_with_the_formula(size: Size) -> None:
    check(size, seed=size.units)


@pytest.mark.parametrize("dtype", HALF_TYPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_half_types(size: Size, dtype: torch.dtype) -> None:
    check(narrow(size), dtype=dtype, seed=size.units)


def test_blocks_of_half_types_meet_as_well() -> None:
    def blocks(size: Size, dtype: torch.dtype) -> int:
        (launch,) = harness.launches(OPERATOR, values(size, dtype), device=device(size))[0]
        return launch.grid[0]

    wide = [blocks(size, torch.float32) for size in SIZES]
    assert wide == [1, 1, 4, 4, 3, 17, 2]
    for dtype in HALF_TYPES:
        assert [blocks(narrow(size), dtype) for size in SIZES] == wide


@pytest.mark.parametrize("seed", range(6))
def test_any_schedule(seed: int) -> None:
    check(USUAL, seed=seed)
    check(narrow(USUAL), dtype=torch.bfloat16, seed=seed)


def test_float64_is_refused() -> None:
    with pytest.raises(harness.EmulationError, match="error 1"):
        harness.run(OPERATOR, values(USUAL, torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_same_bits_for_every_schedule_and_number_of_groups(dtype: torch.dtype) -> None:
    given, size = values(USUAL, dtype), USUAL if dtype == torch.float32 else narrow(USUAL)
    first = harness.run(OPERATOR, given, device=device(size), seed=1)
    few = device(size._replace(multiprocessors=2))
    again = harness.run(OPERATOR, given, device=few, seed=2)
    assert_all_same(again, first, ["y", "h", "c", "gates", "cells"])


def test_what_is_not_wanted_is_not_written() -> None:
    given = values(USUAL)
    y, h, c, *none = harness.run(OPERATOR, given, False, False)
    assert none == [None, None]
    assert_all_same([y, h, c], harness.run(OPERATOR, given)[:3], ["y", "h", "c"])


def test_gradients_that_are_zeros_may_be_absent() -> None:
    given, by = values(USUAL), cotangents(USUAL)
    made = harness.run(OPERATOR, given)
    rest = (made[0], made[3], made[4], True)
    zeros = [torch.zeros_like(t) for t in by]
    for i in range(3):
        some = [t if i == j else None for j, t in enumerate(by)]
        same = [t if i == j else zeros[j] for j, t in enumerate(by)]
        found, wanted = (harness.run(f"{OPERATOR}_backward", (*b, *rest), given) for b in (some, same))
        assert_all_same(found, wanted, ["dz", "before", "dh0", "dc0"])


def test_an_empty_batch() -> None:
    y, h, *_ = harness.run(OPERATOR, values(Size(0, 3, 20)))
    assert (y.shape, h.shape) == ((0, 3, 20), (0, 20))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shift", [0, 1])
def test_no_access_out_of_bounds(shift: int, dtype: torch.dtype) -> None:
    size = Size(5, 3, 20)
    check(size if dtype == torch.float32 else narrow(size), dtype=dtype, flavour="asan", shift=shift)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_no_data_race(dtype: torch.dtype) -> None:
    size = Size(3, 3, 20)
    check(size if dtype == torch.float32 else narrow(size), dtype=dtype, flavour="tsan")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(harness.EmulationError, match="error 9"):
        harness.run(OPERATOR, values(Size(1, 2, 512)), device="sm_75")


HEADER, COMMON, KERNELS = "common/together.cuh", "common/groups.cuh", "lstm/lstm.cuh"
WAIT = "    while (counter.load(::cuda::memory_order_acquire) < wanted)\n      if (++polls == kMostPolls) __trap();\n"
# The pass that is enough to show it, or both; the file; a text in it; what replaces that; how it is built.
MUTANTS = {
    "missing arrive": (
        "forward",
        HEADER,
        "    counter.fetch_add(1, ::cuda::memory_order_release);\n",
        "",
        "quick",
    ),
    "missing wait": (
        "forward",
        HEADER,
        WAIT,
        "",
        "quick",
    ),
    "count too small": (
        "forward",
        COMMON,
        "wanted += Arrivals(g.blocks);",
        "wanted += g.blocks - 1;",
        "quick",
    ),
    "count too large": (
        "forward",
        COMMON,
        "wanted += Arrivals(g.blocks);",
        "wanted += g.blocks + 1;",
        "quick",
    ),
    "another group's counter": (
        "forward",
        COMMON,
        "arrive_and_wait(g.arrived + group,",
        "arrive_and_wait(g.arrived,",
        "quick",
    ),
    "no barrier before arriving": (
        "forward",
        HEADER,
        "Arrivals wanted) {\n  __syncthreads();\n",
        "Arrivals wanted) {\n",
        "quick",
    ),
    "no barrier behind waiting": (
        "forward",
        HEADER,
        "  }\n  __syncthreads();\n}",
        "  }\n}",
        "quick",
    ),
    "relaxed arrival": (
        "forward",
        HEADER,
        "memory_order_release",
        "memory_order_relaxed",
        "tsan",
    ),
    "relaxed wait": (
        "forward",
        HEADER,
        "memory_order_acquire",
        "memory_order_relaxed",
        "tsan",
    ),
    "stale h": (
        "forward",
        KERNELS,
        "a.y + a.row(sequence0, step) * a.units",
        "a.y + a.row(sequence0, step > 0 ? step - 1 : 0) * a.units",
        "quick",
    ),
    "no meeting backward": (
        "",
        KERNELS,
        "      b.meet(g);\n      if constexpr (!Meets::kDirect) {",
        "      if constexpr (!Meets::kDirect) {",
        "quick",
    ),
    "one set of rows twice": ("", COMMON, "rows + set * set_stride + q", "rows + q", "quick"),
    "stale parts": (
        "",
        COMMON,
        "lane / 8) * Gates + gate] = sum;\n  }\n  __syncthreads();\n",
        "lane / 8) * Gates + gate] = sum;\n  }\n",
        "quick",
    ),
}


def broken(folder: Path, file: str, original: str, replacement: str) -> Path:
    cuda = Path(shutil.copytree(build.CUDA_SOURCES, folder / "csrc" / "cuda"))
    for header in build.CUDA_SOURCES.parent.glob("*.h"):
        shutil.copy(header, folder / "csrc")
    replace_once(cuda / file, original, replacement)
    return cuda


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name: str, tmp_path: Path) -> None:
    only, file, original, replacement, flavour = MUTANTS[name]
    cuda = broken(tmp_path, file, original, replacement)
    size = Size(3, 3, 20) if flavour == "tsan" else Size(5, 3, 20)
    with pytest.raises((AssertionError, harness.EmulationError)):
        check_schedules(size, only, folder=cuda, flavour=flavour)


NEIGHBORS = "v[(s * kQ + q) * kSets + set] += to_compute(w[q].at[i]) * to_compute(x[s].at[i]);"
# The file; a text in it; what replaces that; how it is built.
HALF_MUTANTS = {
    "pairs overlap": (COMMON, "k += kWarp * N", "k += kWarp", "quick"),
    "one number of a pair": (COMMON, NEIGHBORS, NEIGHBORS.replace("at[i]", "at[0]"), "quick"),
    "pairs begin anywhere": ("common/groups.h", "kSkew * l.neighbors()", "kSkew", "asan"),
}


@pytest.mark.parametrize("name", HALF_MUTANTS)
def test_mutants_of_half_types_are_caught(name: str, tmp_path: Path) -> None:
    file, original, replacement, flavour = HALF_MUTANTS[name]
    cuda = broken(tmp_path, file, original, replacement)
    with pytest.raises((AssertionError, harness.EmulationError)):
        check(narrow(Size(5, 3, 36, shared=24 << 10)), dtype=torch.bfloat16, folder=cuda, flavour=flavour)
