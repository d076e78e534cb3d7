"""The launch plan of an LSTM's recurrence on the limits of seven devices. Its blocks wait for one another, so all of
them must be on the device at the same time: more blocks than fit would wait for ever.
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


def launches(
    batch: int, units: int, device: str, backward: bool, dtype: torch.dtype = torch.float32
) -> list[harness.Launch]:
    def empty(*size: int) -> torch.Tensor:
        return torch.empty(size, device="meta", dtype=dtype)

    y, gates, state = empty(batch, 9, units), empty(batch, 9, 4 * units), empty(batch, units)
    values = (gates, empty(4 * units, units), None, None, state, state)
    if not backward:
        return harness.launches("lstm", values, device=device)[0]
    return harness.launches("lstm_backward", (y, state, state, y, gates, y, True), values, device=device)[0]


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
            assert launch.grid[0] <= limits.multiprocessors
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
    """16 sequences of 257 units: four groups of 17 blocks."""
    (launch,) = launches(16, 257, "sm_90", backward=False)
    assert launch.grid[0] == 4 * 17
    assert launch.block[0] == 512
