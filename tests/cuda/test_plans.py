"""Launch plans on the limits of every device of csrc/cuda/common/plan.h, T4 to RTX 5090. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch

from ..simt import build, harness
from . import machine_code, network, plans

pytestmark = harness.needs()

MOST_BLOCKS = 2**31 - 1  # of a grid
MOST_THREADS, WARP = 1024, 32
LARGE = (16, 250)  # utterances and frames, as in training
SIZES = ((1, 1), (1, 250), LARGE, (2, 3000), (64, 20_000))
FEW = ("reduce_rows",)
"""Kernels whose work does not grow with the batch."""

FAST = tuple(dtype for dtype in harness.DTYPES if dtype is not torch.float64)
"""Double precision is for exact tests, of small tensors."""

DEVICES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
for_each_device = pytest.mark.parametrize("device", DEVICES)
for_each_dtype = pytest.mark.parametrize("dtype", harness.DTYPES, ids=str)
for_each_case = pytest.mark.parametrize(
    "case", [pytest.param(c, marks=harness.needs(network.OPERATORS[c])) for c in network.CASES]
)


class Planned(NamedTuple):
    """One launch, and the blocks of it that a multiprocessor holds by what the plan assumes of the kernel's registers;
    ``None`` where it assumes nothing."""

    kernel: str
    launch: harness.Launch
    held: int | None

    @property
    def threads(self) -> int:
        x, y, z = self.launch.block
        return x * y * z

    @property
    def shared_bytes(self) -> int:
        return self.launch.shared_bytes + self.launch.static_shared_bytes


def planned(case: str, device: str, dtype: torch.dtype, batch: int, frames: int) -> Iterator[Planned]:
    """All launches of the forward pass and then of the backward pass."""
    assumed = plans.assumed_registers()
    storage = plans.DTYPES[harness.DTYPES.index(dtype)]
    calls = network.CASES[case](batch, frames, dtype)
    for what in ("forward", "backward"):
        name, arguments = calls.of(what)
        for launch in harness.launches(name, *arguments, device=device)[0]:
            kernel = launch.kernel.split("<")[0].split("::")[-1]
            one = Planned(kernel, launch, None)
            registers = assumed.get((kernel, storage))
            if registers is not None:
                limits = harness.devices()[device]
                held = plans.blocks_per_multiprocessor(limits, one.threads, one.shared_bytes, registers)
                one = one._replace(held=held)
            yield one


def test_devices_are_those_of_the_plans() -> None:
    assert tuple(harness.devices()) == DEVICES
    assert {f"sm_{arch}" for arch in machine_code.ARCHITECTURES} == set(DEVICES)


@for_each_dtype
@for_each_device
@for_each_case
def test_launches_are_within_the_limits(case: str, device: str, dtype: torch.dtype) -> None:
    """From one frame to five and a half hours of sound."""
    limits = harness.devices()[device]
    for batch, frames in SIZES:
        for one in planned(case, device, dtype, batch, frames):
            what = f"{batch} × {frames} frames: {one}"
            blocks, y, z = one.launch.grid
            assert y == z == 1, what
            assert 0 < blocks <= MOST_BLOCKS, what
            assert 0 < one.threads <= MOST_THREADS, what
            assert one.threads % WARP == 0, what
            assert one.shared_bytes <= limits.shared_per_block, what
            assert one.held is None or one.held >= 1, what


@pytest.mark.parametrize("dtype", FAST, ids=str)
@for_each_device
@for_each_case
def test_a_batch_fills_the_device(case: str, device: str, dtype: torch.dtype) -> None:
    """A block for each multiprocessor at least, and two warps on each at any time."""
    limits = harness.devices()[device]
    for one in planned(case, device, dtype, *LARGE):
        if one.kernel in FEW:
            continue
        assert one.launch.grid[0] >= limits.multiprocessors, one
        assert one.held is None or one.held * one.threads >= 2 * WARP, one


@for_each_device
def test_one_block_of_the_cascade_has_a_whole_row(device: str) -> None:
    """At the network's 257 bins, so that nothing is computed twice, and forward and backward work in place."""
    x_channels, deep = 128, 124
    for one in planned("multi_order_conv", device, torch.float32, *LARGE):
        if one.kernel in ("cascade_forward", "cascade_gradient"):
            assert one.launch.grid[0] % deep == 0, one
        assert one.kernel != "cascade_forward" or one.launch.grid[0] <= deep * LARGE[0] < x_channels * LARGE[0], one


@pytest.mark.parametrize("device", ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"])
def test_rows_between_two_barriers(device: str) -> None:
    """By hand. Two where their rings leave a multiprocessor as many blocks: those of backward do not fit in 99 KB."""
    backward_rows = 78 if device in ("sm_86", "sm_89", "sm_120") else 96
    ring_rows = {"cascade_forward": 20, "cascade_gradient": backward_rows}
    sums = {"cascade_forward": 0, "cascade_gradient": 4 * (7 * 7 + 1)}
    pitch = 32 * 9 + 6
    for one in planned("multi_order_conv", device, torch.float32, *LARGE):
        if one.kernel in ring_rows:
            assert one.shared_bytes == 4 * (ring_rows[one.kernel] * pitch + sums[one.kernel]), one


@pytest.mark.parametrize("device", ["sm_80", "sm_90", "sm_100"])
def test_rows_of_two_parts(device: str) -> None:
    """By hand: in half types a row of both cascades has 36 · 8 + 16 bins, each as two numbers of 2 bytes."""
    row = (36 * 8 + 16) * 4
    wanted = {"cascade_forward": (20 * row, 4), "cascade_gradient": (96 * row + 4 * 4 * (7 * 7 + 1), 7 + 4)}
    for one in planned("multi_order_conv", device, torch.bfloat16, *LARGE):
        if one.kernel in wanted:
            assert (one.shared_bytes, one.threads // WARP) == wanted[one.kernel], one


@pytest.mark.parametrize("device", ["sm_75", "sm_86", "sm_89", "sm_120"])
def test_half_types_where_tensor_cores_are_slow(device: str) -> None:
    """The depthwise stages have the plan of float32: on tensor cores they would take longer."""
    single, half = (
        list(planned("multi_order_conv", device, dtype, *LARGE)) for dtype in (torch.float32, torch.bfloat16)
    )
    cascades = [[one for one in found if one.kernel.startswith("cascade")] for found in (single, half)]
    for a, b in zip(*cascades, strict=True):
        assert (a.kernel, a.threads, a.shared_bytes) == (b.kernel, b.threads, b.shared_bytes)


@for_each_device
def test_blocks_of_the_pointwise_convolutions_stay_on_the_device(device: str) -> None:
    """By hand: 32 channels of a tile of 128 points, and four blocks of 32 x 32 weights, kept from tile to tile."""
    blocks = {"sm_75": 1, "sm_86": 2, "sm_89": 2, "sm_120": 2}.get(device, 4)
    found = [one for one in planned("multi_order_conv", device, torch.float32, *LARGE) if one.kernel == "pointwise"]
    assert found
    for one in found:
        assert one.shared_bytes == 4 * 32 * (128 + 8 + 4 * 36), one
        assert one.held == blocks, one
        assert one.launch.grid[0] == blocks * harness.devices()[device].multiprocessors, one


@for_each_device
def test_the_workspace_hardly_grows_with_the_batch(device: str) -> None:
    """Forward, nothing; backward, partial sums: for an utterance less than a quarter of what x takes."""
    frames, few, many = 250, 64, 256
    x_bytes = 32 * frames * network.BINS * 4
    for what, partial_sums in (("forward", 0), ("backward", (many - few) * x_bytes / 4)):
        small, large = (_workspace("multi_order_conv", what, batch, frames, device) for batch in (few, many))
        # As many utterances at a time as divide the batch: at least two thirds of what the device is given at most.
        assert large <= 1.5 * small + partial_sums, what


def _workspace(case: str, what: str, batch: int, frames: int, device: str) -> int:
    name, arguments = network.CASES[case](batch, frames, torch.float32).of(what)
    return harness.launches(name, *arguments, device=device)[1]


def test_blocks_of_a_multiprocessor() -> None:
    """By hand, from the tables of the CUDA programming guide."""
    t4, a100, h100 = (harness.devices()[name] for name in ("sm_75", "sm_80", "sm_90"))
    held = plans.blocks_per_multiprocessor
    assert held(t4, 1024, 0, 32) == 1  # threads: 1,024 at most
    assert held(a100, 1024, 0, 32) == 2  # 2,048
    assert held(h100, 32, 0, 16) == 32  # blocks
    assert held(h100, 128, 0, 128) == 4  # registers: 65,536
    assert held(h100, 128, 0, 129) == 3  # given out by 256 a warp: 136 × 128 × 4 do not fit
    assert held(h100, 64, 113 << 10, 32) == 2  # shared memory: 228 KB, 1 KB of each block for the system
    assert held(h100, 64, 114 << 10, 32) == 1
    assert held(t4, 64, 32 << 10, 32) == 2  # 64 KB, and nothing for the system
    assert held(t4, 64, (64 << 10) + 1, 32) == 0  # more than a block may have
    assert held(a100, 1056, 0, 32) == 0


@pytest.mark.skipif(bool(build.missing()), reason=build.missing() or "all is well")
@pytest.mark.parametrize("device", ["sm_75", "sm_120"])
def test_what_fits_nowhere_is_refused(device: str) -> None:
    """2,048 channels: the gates' tiles are larger than the shared memory of a block."""
    channels = 2048
    x = torch.empty(1, 1, 2, 2, device="meta")
    sizes = [(2 * channels, 1, 1, 1), (2 * channels - channels // 2, 1, 3, 3), (channels, channels // 2, 1, 1)]
    weights = [torch.empty(size, device="meta") for size in (*sizes, (1, channels, 1, 1))]
    biases = [torch.empty(weight.shape[0], device="meta") for weight in weights]
    with pytest.raises(harness.EmulationError):
        harness.launches("multi_order_conv", x, weights, biases, device=device)
