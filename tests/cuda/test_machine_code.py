"""Every kernel of csrc/cuda as machine code: registers, local memory, widths of accesses, share of multiply-adds.

By default for sm_80, sm_90 and sm_120; ``LITE_RTSE_CUDA_ARCHS=all`` for all, ``LITE_RTSE_CUDA_ARCHS=75,86`` for some.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from ..simt import build, harness
from . import gates, machine_code, network, plans
from .expectations import MULTIPLY_ADDS, NARROW, WIDE
from .machine_code import Kernel

pytestmark = [
    pytest.mark.skipif(bool(machine_code.missing()), reason=machine_code.missing()),
    harness.needs(),
]

SOURCES = machine_code.sources()
ARCHITECTURES = machine_code.architectures()
CLUSTERS_SINCE, TENSOR_CORES_SINCE = 90, 80
for_each_file = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
for_each_architecture = pytest.mark.parametrize("arch", ARCHITECTURES, ids=lambda arch: f"sm_{arch}")


@cache
def all_compiled() -> None:
    machine_code.compile_all(SOURCES, ARCHITECTURES)


def kernels(source: Path, arch: int) -> tuple[Kernel, ...]:
    all_compiled()
    return machine_code.kernels(source, arch)


def of_all_files(arch: int) -> list[Kernel]:
    return [kernel for source in SOURCES for kernel in kernels(source, arch)]


@for_each_architecture
@for_each_file
def test_no_local_memory(source: Path, arch: int) -> None:
    """Neither spilled registers nor arrays."""
    found = kernels(source, arch)
    assert found
    gates.demand_nothing(map(gates.local_memory, found))


@for_each_architecture
@for_each_file
def test_no_more_registers_than_the_plan_assumes(source: Path, arch: int) -> None:
    assumed = plans.assumed_registers()
    gates.demand_nothing(gates.registers(kernel, assumed) for kernel in kernels(source, arch))


@for_each_architecture
@for_each_file
def test_global_memory_by_128_bits(source: Path, arch: int) -> None:
    run = (kernel for kernel in kernels(source, arch) if arch >= CLUSTERS_SINCE or not of_clusters(kernel))
    found = ((kernel, NARROW.get(kernel.family, WIDE).accesses) for kernel in run)
    gates.demand_nothing(line for kernel, exempt in found for line in gates.wide_accesses(kernel, exempt))


def of_clusters(kernel: Kernel) -> bool:
    return any(argument.endswith("MeetsByCluster") for argument in kernel.template_arguments)


@for_each_architecture
def test_clusters_meet_at_their_barrier(arch: int) -> None:
    """Before compute capability 9.0 nothing is left of these kernels but an error."""
    found = [kernel for kernel in of_all_files(arch) if kernel.family.startswith(("lstm_", "gru_groups_"))]
    assert any(map(of_clusters, found))
    for kernel in found:
        arrivals, waits, counters = (kernel.count(rf"{what}.*") for what in ("UCGABAR_ARV", "UCGABAR_WAIT", "ATOM[.]"))
        at_barrier = of_clusters(kernel) and arch >= CLUSTERS_SINCE
        assert (arrivals > 0) == (waits > 0) == at_barrier, str(kernel)
        assert (counters > 0) == (not of_clusters(kernel)), str(kernel)


@for_each_architecture
def test_depthwise_loops_are_mostly_multiply_adds(arch: int) -> None:
    """7 x 7 in float32: the cascade's forward and backward kernel among others."""
    found = {k.qualified_name: k for k in of_all_files(arch) if k.template_arguments[:2] == ("float", "7")}
    assert {"cascade_forward", "cascade_gradient"} <= {kernel.family for kernel in found.values()}
    period = plans.gradient_period()
    gates.demand_nothing(gates.share(kernel, MULTIPLY_ADDS, period=period) for kernel in found.values())


@for_each_architecture
def test_a_tile_is_read_while_another_is_multiplied(arch: int) -> None:
    """Behind the barrier loads are issued, and no store waits for them before the products."""
    least = {"pointwise": 4, "pointwise_gradient": 4, "conv_block_gradient_in": 32}
    found = [kernel for kernel in of_all_files(arch) if kernel.family in least]
    assert {kernel.family for kernel in found} == set(least)
    for kernel in found:
        names = [instruction.name for instruction in kernel.instructions]
        product = next(i for i, name in enumerate(names) if name in ("FFMA", "DFMA", "HMMA"))
        assert "BAR" in names[:product], str(kernel)
        behind = names[:product][::-1]
        behind = behind[: behind.index("BAR")]
        assert behind.count("LDG") >= least[kernel.family], str(kernel)
        assert "STS" not in behind, str(kernel)


@for_each_architecture
def test_half_types_are_multiplied_on_tensor_cores(arch: int) -> None:
    """1x1 convolutions of two factors in one half type, and depthwise stages of the cascade. No other kernel has any.

    The weight gradients of the cascade are multiply-adds.
    """
    found = of_all_files(arch)
    wanted = [kernel for kernel in found if gates.on_tensor_cores(kernel.family, kernel.template_arguments)]
    assert {(kernel.family, kernel.template_arguments[0]) for kernel in wanted} == {
        (family, dtype) for family in ("pointwise", "cascade_forward", "cascade_gradient") for dtype in gates.HALF_TYPES
    }
    since = arch >= TENSOR_CORES_SINCE
    gates.demand_nothing(
        gates.tensor_cores(kernel, since and kernel in wanted, alone=kernel.family != "cascade_gradient")
        for kernel in found
    )


def test_every_kernel_is_compiled() -> None:
    families = {kernel.family for kernel in of_all_files(ARCHITECTURES[0])}
    assert families == machine_code.global_names(SOURCES)


def test_expectations_are_of_kernels_that_exist() -> None:
    families = machine_code.global_names(SOURCES)
    assert {family for family, _ in plans.assumed_registers()} <= families
    assert set(NARROW) <= families


def test_every_assumption_of_a_plan_is_tested() -> None:
    """Constants named …Registers and functions ``registers`` of csrc/cuda all are in plans.cpp."""
    known = (Path(plans.__file__).parent / "plans.cpp").read_text()
    for header in sorted(build.CUDA_SOURCES.rglob("*.h")):
        text = header.read_text()
        for name in re.findall(r"\b(k\w*Registers)\s*=", text):
            assert name in known, f"{header.name}: {name}"
        for function in re.finditer(r"\bint registers\(", text):
            owner = re.findall(r"^(?:struct|class) (\w+)", text[: function.start()], re.MULTILINE)[-1]
            assert f"{owner}::registers(" in known, f"{header.name}: {owner}::registers"


def launches_of(case: str, dtype: torch.dtype, arch: int, batch: int, frames: int) -> list[harness.Launch]:
    calls = network.CASES[case](batch, frames, dtype)
    found = []
    for what in ("forward", "backward"):
        name, arguments = calls.of(what)
        found += harness.launches(name, *arguments, device=f"sm_{arch}")[0]
    return found


@for_each_architecture
@pytest.mark.parametrize("case", [pytest.param(c, marks=harness.needs(network.OPERATORS[c])) for c in network.CASES])
def test_launches_fit_the_machine_code(case: str, arch: int) -> None:
    """Blocks are no larger than their kernel allows, and a multiprocessor can hold one at least."""
    by_name = {kernel.qualified_name: kernel for kernel in of_all_files(arch)}
    device = harness.devices()[f"sm_{arch}"]
    for dtype in harness.DTYPES:
        for batch, frames in ((1, 1), (1, 250), (16, 250), (2, 3000)):
            for launch in launches_of(case, dtype, arch, batch, frames):
                kernel = by_name[launch.kernel]
                threads = launch.block[0] * launch.block[1] * launch.block[2]
                what = f"{kernel} with {threads} threads, {launch.shared_bytes} bytes of shared memory"
                assert kernel.max_threads is None or threads <= kernel.max_threads, what
                shared = launch.shared_bytes + kernel.shared_bytes
                assert plans.blocks_per_multiprocessor(device, threads, shared, kernel.registers) >= 1, what
