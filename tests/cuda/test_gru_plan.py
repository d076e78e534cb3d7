"""The launch plan of a GRU's recurrence on the limits of seven devices.

Blocks that wait for one another must all be on the device at the same time: more than fit would wait for ever.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ..simt import harness
from . import plans
from .test_lstm_plan import DEVICES, MOST_THREADS, REGISTERS, assert_resident

pytestmark = harness.needs("gru")

BATCHES = (1, 2, 16, 1000)
UNITS = (1, 4, 8, 9, 16, 17, 32, 33, 48, 64, 100, 128, 200, 256)


def values(batch: int, units: int, directions: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    def empty(*size: int, kind: torch.dtype = dtype) -> torch.Tensor:
        return torch.empty(size, device="meta", dtype=kind)

    wide = torch.float64 if dtype == torch.float64 else torch.float32
    inputs = [empty(batch, 9, 3 * units, kind=wide) for _ in range(directions)]
    weights = [empty(3 * units, units) for _ in range(directions)]
    return {"input": inputs, "weight_hh": weights, "bias_ih": [], "bias_hh": [], "h0": None}


def launch(batch: int, units: int, directions: int, device: str, **options: Any) -> harness.Launch:
    ((found,), _) = harness.launches("gru", values(batch, units, directions, **options), device=device)
    return found


def by_lanes(found: harness.Launch) -> bool:
    return "gru_lanes" in found.kernel


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("device", DEVICES)
def test_all_blocks_of_a_group_are_on_the_device_at_the_same_time(device: str, directions: int) -> None:
    """No launch of groups has more blocks than multiprocessors, and each multiprocessor has room for one."""
    limits = harness.devices()[device]
    for units in UNITS:
        for batch in BATCHES:
            found = launch(batch, units, directions, device)
            if by_lanes(found):
                continue
            threads = found.block[0]
            assert plans.blocks_per_multiprocessor(limits, threads, found.shared_bytes, REGISTERS) >= 1
            assert_resident(found, limits)
            assert threads <= MOST_THREADS
            assert found.static_shared_bytes == 0


@pytest.mark.parametrize(("dtype", "most"), [*zip(harness.DTYPES, (16, 32, 32, 32), strict=True)], ids=str)
def test_few_units_are_lanes(dtype: torch.dtype, most: int) -> None:
    assert [by_lanes(launch(3, units, 1, "sm_90", dtype=dtype)) for units in (1, most, most + 1)] == [True, True, False]


def test_a_warp_has_whole_sequences() -> None:
    """66 sequences of 8 units in one direction: four sequences to a warp."""
    found = launch(66, 8, 1, "sm_90")
    assert (found.grid[0], found.block[0]) == (17, 32)


def test_w_hh_in_one_block_needs_no_meeting() -> None:
    """64 units take 49 KB, so every chunk of four sequences has a block of its own while there are multiprocessors."""
    assert launch(66, 64, 1, "sm_80").grid[0] == 17
    assert launch(1000, 64, 2, "sm_90").grid[0] == 132


def test_clusters_share_w_hh_while_multiprocessors_are_idle() -> None:
    """66 sequences are 17 chunks: four blocks for each, of 16 units."""
    found = launch(66, 64, 1, "sm_90")
    assert (found.grid[0], found.cluster) == (17 * 4, 4)
    assert launch(1000, 64, 2, "sm_90").cluster == 1


def test_half_types_need_half_of_the_memory() -> None:
    wide, half = (launch(500, 100, 1, "sm_86", dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert half.shared_bytes < wide.shared_bytes or half.grid[0] > wide.grid[0]


@pytest.mark.parametrize(
    ("device", "dtype", "cluster"),
    [
        ("sm_80", torch.float32, 1),
        ("sm_90", torch.float32, 8),
        ("sm_100", torch.bfloat16, 8),
        ("sm_120", torch.float32, 1),
        ("sm_120", torch.bfloat16, 8),
    ],
)
def test_groups_of_few_blocks_are_clusters(device: str, dtype: torch.dtype, cluster: int) -> None:
    """256 units in both directions. Clusters need no counter, and no memory to hand over h."""
    ((found,), workspace) = harness.launches("gru", values(16, 256, 2, dtype), device=device)
    assert found.cluster == cluster
    assert (workspace == 0) == (cluster > 1)


@pytest.mark.parametrize("device", DEVICES)
def test_what_does_not_fit_is_refused(device: str) -> None:
    with pytest.raises(harness.EmulationError, match="error 9"):
        launch(1, 2048, 2, device)
