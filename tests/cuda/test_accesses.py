"""What the kernels do to memory at the network's shapes: bank conflicts, and how wide they read and write."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from benchmarks.cuda_model import on_tensor_cores

from . import gates, machine_code, network, trace
from .expectations import NARROW, WIDE
from .trace import Launch

BATCH, FRAMES = 16, 256  # as in training, and planes of 257 bins are a multiple of 16 bytes long
BLOCKS = 3  # of each grid are run
MOST = 0.9

pytestmark = trace.needs()
for_each_case = pytest.mark.parametrize(
    "case", [pytest.param(c, marks=trace.needs(network.OPERATORS[c])) for c in network.CASES]
)
for_each_pass = pytest.mark.parametrize("what", ["forward", "backward"])
DTYPES = (torch.float64, torch.float32, torch.float16)
for_each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@cache
def launches(case: str, what: str, dtype: torch.dtype) -> list[Launch]:
    calls = network.CASES[case](BATCH, FRAMES // 4 if dtype == torch.float64 else FRAMES, dtype)  # loops: slow here
    name, arguments = calls.of(what)
    # Of these, sm_90 alone has depthwise stages on tensor cores, in half types.
    device = "sm_90" if dtype == torch.float16 else f"sm_{machine_code.architectures()[-1]}"
    return trace.count(name, *arguments, device=device, blocks=BLOCKS)


@for_each_dtype
@for_each_pass
@for_each_case
def test_at_most_2_way_conflicts(case: str, what: str, dtype: torch.dtype) -> None:
    gates.demand_nothing(line for launch in launches(case, what, dtype) for line in gates.conflicts(launch))


@for_each_pass
@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, marks=trace.needs(network.OPERATORS[case]), id=f"{case}, {dtype}")
        for case in network.LAYERS
        for dtype in (DTYPES[1:] if case == "lstm 257" else DTYPES[1:2] if "bfloat16" in case else DTYPES)
    ],
)
def test_at_most_2_way_conflicts_in_layers(case: str, dtype: torch.dtype, what: str) -> None:
    """Of a few frames, so that loading the weights has a share that counts."""
    name, arguments = network.LAYERS[case](BATCH, 8, dtype).of(what)
    found = trace.count(name, *arguments, device="sm_90", blocks=2)
    gates.demand_nothing(line for launch in found for line in gates.conflicts(launch))


@for_each_pass
def test_products_on_tensor_cores(what: str) -> None:
    """They move 16 bytes at a time, and read shared memory without conflicts."""
    found = [launch for launch in launches("multi_order_conv", what, torch.float16) if on_tensor_cores(launch.kernel)]
    assert found
    for launch in found:
        for store in (False, True):
            assert gates.wide_share(launch, 16, store) >= MOST, launch.kernel
        loads = [site for site in launch.sites if site.shared and not site.store]
        assert loads
        assert all((site.width, site.conflict) == (16, 1) for site in loads), launch.kernel


@for_each_pass
@for_each_case
def test_most_bytes_move_by_128_bits(case: str, what: str) -> None:
    """Rows of 257 numbers are aligned to nothing, but whole planes are, here."""
    for launch in launches(case, what, torch.float32):
        family = launch.kernel.split("::")[-1].split("<")[0]
        exempt = NARROW.get(family, WIDE).accesses
        for accesses, store in (("loads", False), ("stores", True)):
            if accesses not in exempt:
                share = gates.wide_share(launch, 16, store)
                assert share >= MOST, f"{launch.kernel}: {100 * share:.0f} % of the bytes of its {accesses}"
