"""The launch plan of an LSTM's recurrence on the limits of seven devices.

Blocks that wait for one another must all be on the device at the same time: more blocks than fit would wait for ever.
Where they are a cluster, the device sees to that. Otherwise no launch has more blocks than multiprocessors.
"""

from __future__ import annotations

import pytest
import torch

from ..simt import harness
from . import plans

pytestmark = harness.needs("lstm")

DEVICES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
BATCHES = (1, 2, 16, 64, 1000)
UNITS = (*range(1, 40), 64, 128, 200, 256, 257, 300, 400, 511, 512)
MOST_UNITS, MOST_HALF_UNITS = {"sm_75": 320}, {"sm_75": 480}  # of the others at least 512
REGISTERS, MOST_THREADS = 128, 512
MOST_CLUSTER_BLOCKS = 8


def launches(
    batch: int, units: int, device: str | harness.Device, backward: bool, dtype: torch.dtype = torch.float32
) -> list[harness.Launch]:
    def empty(*size: int) -> torch.Tensor:
        return torch.empty(size, device="meta", dtype=dtype)

    y, gates, state = empty(batch, 9, units), empty(batch, 9, 4 * units), empty(batch, units)
    values = (gates, empty(4 * units, units), None, None, state, state)
    if not backward:
        return harness.launches("lstm", values, device=device)[0]
    return harness.launches("lstm_backward", (y, state, state, y, gates, y, True), values, device=device)[0]


def assert_resident(launch: harness.Launch, limits: harness.Device) -> None:
    """Whole clusters of few blocks, or no more blocks than multiprocessors."""
    if launch.cluster > 1:
        assert limits.sm >= 90
        assert launch.cluster <= MOST_CLUSTER_BLOCKS
        assert launch.grid[0] % launch.cluster == 0
    assert launch.grid[0] <= limits.multiprocessors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("device", DEVICES)
def test_all_blocks_are_on_the_device_at_the_same_time(device: str, backward: bool, dtype: torch.dtype) -> None:
    limits = harness.devices()[device]
    most = MOST_UNITS if dtype == torch.float32 else MOST_HALF_UNITS
    for units in (u for u in UNITS if u <= most.get(device, 512)):
        for batch in BATCHES:
            (launch,) = launches(batch, units, device, backward, dtype)
            threads = launch.block[0]
            held = plans.blocks_per_multiprocessor(limits, threads, launch.shared_bytes, REGISTERS)
            assert held >= 1
            assert_resident(launch, limits)
            assert threads <= MOST_THREADS
            assert launch.static_shared_bytes == 0


@pytest.mark.parametrize("device", DEVICES)
def test_what_does_not_fit_is_refused(device: str) -> None:
    with pytest.raises(harness.EmulationError, match="error 9"):
        launches(1, 2048, device, backward=False)


def test_small_devices_have_a_limit() -> None:
    assert launches(1, MOST_UNITS["sm_75"], "sm_75", backward=False)
    with pytest.raises(harness.EmulationError, match="error 9"):
        launches(1, 512, "sm_75", backward=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_take_half_of_the_memory(dtype: torch.dtype) -> None:
    """Half as many units again fit on a T4, and 88 units in one block of a small device."""
    for backward in (False, True):
        assert launches(1, MOST_HALF_UNITS["sm_75"], "sm_75", backward, dtype)
        with pytest.raises(harness.EmulationError, match="error 9"):
            launches(1, MOST_HALF_UNITS["sm_75"] + 1, "sm_75", backward, dtype)
        (launch,) = launches(1, 88, "sm_86", backward, dtype)
        assert launch.grid[0] == 1
        assert launches(1, 88, "sm_86", backward)[0].grid[0] > 1


def test_a_training_batch_uses_most_of_a_large_device() -> None:
    """16 sequences of 257 units: four groups of 17 blocks, which meet by a counter."""
    (launch,) = launches(16, 257, "sm_80", backward=False)
    assert (launch.grid[0], launch.cluster) == (4 * 17, 1)
    assert launch.block[0] == 512


@pytest.mark.parametrize(
    ("device", "wide", "half"),
    [("sm_80", 1, 1), ("sm_86", 1, 1), ("sm_89", 1, 1), ("sm_90", 8, 8), ("sm_100", 8, 8), ("sm_120", 1, 1)],
)
def test_groups_are_clusters_where_few_blocks_have_room_for_w_hh(device: str, wide: int, half: int) -> None:
    """257 units in 8 blocks take 211 KB of a block in float32, 107 KB in a half type. An RTX 5090 has 99 KB."""
    for dtype, blocks in ((torch.float32, wide), (torch.bfloat16, half)):
        for backward in (False, True):
            (launch,) = launches(16, 257, device, backward, dtype)
            assert launch.cluster == blocks
            assert blocks == 1 or launch.grid[0] == 4 * blocks


def test_a_small_lstm_of_a_small_device_is_a_cluster() -> None:
    (launch,) = launches(4, 128, "sm_120", backward=False)
    assert 1 < launch.cluster <= MOST_CLUSTER_BLOCKS
    assert launch.grid[0] == launch.cluster


def test_clusters_may_wait_for_room() -> None:
    """With fewer multiprocessors than the blocks of both groups: one cluster begins when the other has ended."""
    few = harness.Device.from_buffer_copy(harness.devices()["sm_90"])
    few.multiprocessors = 8
    (launch,) = launches(16, 257, few, backward=False)
    assert (launch.cluster, launch.grid[0]) == (8, 8)
    few.multiprocessors = 5  # 52 units do not fit in a block
    with pytest.raises(harness.EmulationError, match="error 9"):
        launches(16, 257, few, backward=False)


@pytest.mark.parametrize("device", ["sm_90", "sm_100", "sm_120"])
def test_code_for_older_devices_has_no_clusters(device: str) -> None:
    """Such code runs as PTX. Its functions for clusters only end the program."""
    older = harness.Device.from_buffer_copy(harness.devices()[device])
    assert older.without_clusters == 0
    older.without_clusters = 1
    for units, batch in ((128, 4), (257, 16)):
        for backward in (False, True):
            (launch,) = launches(batch, units, older, backward)
            assert launch.cluster == 1
            assert 1 < launch.grid[0] <= older.multiprocessors
