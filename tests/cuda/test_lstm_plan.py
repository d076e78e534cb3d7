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
MOST_UNITS = {"sm_75": 320, "sm_80": 512}  # of the others at least 512
REGISTERS, MOST_THREADS = 128, 512


def launches(batch: int, units: int, device: str, backward: bool) -> list[harness.Launch]:
    def empty(*size: int) -> torch.Tensor:
        return torch.empty(size, device="meta")

    y, gates, state = empty(batch, 9, units), empty(batch, 9, 4 * units), empty(batch, units)
    values = (gates, empty(4 * units, units), None, None, state, state)
    if not backward:
        return harness.launches("lstm", values, device=device)[0]
    return harness.launches("lstm_backward", (y, state, state, y, gates, y, True), values, device=device)[0]


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("device", DEVICES)
def test_all_blocks_are_on_the_device_at_the_same_time(device: str, backward: bool) -> None:
    limits = harness.devices()[device]
    for units in (u for u in UNITS if u <= MOST_UNITS.get(device, 512)):
        for batch in BATCHES:
            (launch,) = launches(batch, units, device, backward)
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


def test_a_training_batch_uses_most_of_a_large_device() -> None:
    """16 sequences of 257 units: four groups of 17 blocks."""
    (launch,) = launches(16, 257, "sm_90", backward=False)
    assert launch.grid[0] == 4 * 17
    assert launch.block[0] == 512
