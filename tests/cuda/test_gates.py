"""The gates find planted faults, and only those."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch

from . import gates, machine_code, trace
from .control_flow import ControlFlow
from .machine_code import Instruction, Kernel
from .trace import Launch

PLANTED = trace.HERE / "planted"
needs_nvcc = pytest.mark.skipif(bool(machine_code.missing()), reason=machine_code.missing())
needs_emulator = trace.needs()
for_each_architecture = pytest.mark.parametrize("arch", machine_code.architectures(), ids=lambda arch: f"sm_{arch}")


@cache
def planted(arch: int) -> dict[str, Kernel]:
    return {kernel.name: kernel for kernel in machine_code.kernels(PLANTED / "causal_dwconv2d.cu", arch)}


@needs_nvcc
@for_each_architecture
def test_local_memory_is_found(arch: int) -> None:
    found = {name for name, kernel in planted(arch).items() if gates.local_memory(kernel)}
    assert found == {"spilled", "indexed"}
    assert gates.local_memory(planted(arch)["spilled"]).startswith(f"causal_dwconv2d.cu: spilled for sm_{arch} has ")


@needs_nvcc
@for_each_architecture
def test_resources_are_read(arch: int) -> None:
    kernels = planted(arch)
    assert {name: kernel.shared_bytes for name, kernel in kernels.items() if kernel.shared_bytes} == {
        "fixed_shared": 4096
    }
    assert kernels["spilled"].registers == 64
    assert kernels["spilled"].max_threads == 1024
    assert kernels["words<8>"].max_threads == 32
    assert kernels["indexed"].max_threads is None
    assert kernels["words<8>"].qualified_name == "lite_rtse::cuda::words<8>"
    assert (kernels["words<8>"].family, kernels["words<8>"].template_arguments) == ("words", ("8",))


@needs_nvcc
@for_each_architecture
def test_too_many_registers_are_found(arch: int) -> None:
    kernel = planted(arch)["words<8>"]
    assert gates.registers(kernel, {("words", "8"): kernel.registers}) == ""
    assert gates.registers(kernel, {("words", "8"): kernel.registers - 1}).endswith(
        f"has {kernel.registers} registers a thread, but its plan assumes at most {kernel.registers - 1}"
    )


@needs_nvcc
@for_each_architecture
def test_narrow_accesses_are_found(arch: int) -> None:
    kernels = planted(arch)
    assert not list(gates.wide_accesses(kernels["wide"]))
    loads, stores = gates.wide_accesses(kernels["narrow"])
    assert "no loads of global memory by 128 bits" in loads
    assert "no stores of global memory by 128 bits" in stores
    assert not list(gates.wide_accesses(kernels["narrow"], ("loads", "stores")))
    assert [line.split(" has ")[1] for line in gates.wide_accesses(kernels["words<1>"], ("loads", "stores"))] == [
        "no loads of global memory: it needs no exemption"
    ]


@needs_nvcc
@for_each_architecture
def test_few_multiply_adds_are_found(arch: int) -> None:
    kernels = planted(arch)
    assert gates.share(kernels["sums<256>"], 0.9) == ""
    assert "% of what its inner loop issues are FFMA, at least 70 %" in gates.share(kernels["sums<4>"], 0.7)
    assert gates.share(kernels["narrow"], 0.1).endswith("has no loop with FFMA")
    # Shuffles once in 64 turns: counted as if in every turn, they are too many.
    assert gates.share(kernels["roles"], 0.85, period=64) == ""
    assert gates.share(kernels["roles"], 0.85) != ""


def program(text: str) -> Kernel:
    """Instructions separated by semicolons; of a branch the number of its target."""
    instructions = []
    for line in text.split(";"):
        *predicate, opcode, operands = line.strip().split(" ") if "BRA" in line else [*line.strip().split(" "), ""]
        if opcode == "BRA":
            operands = f"{int(operands) * 16:#x}"
        instructions.append(Instruction(opcode, operands, predicate[0] if predicate else ""))
    return Kernel("k", "k", "k.cu", 90, 0, 0, 0, 0, None, tuple(instructions))


def is_multiply_add(instruction: Instruction) -> bool:
    return instruction.name == "FFMA"


def test_loops_are_found() -> None:
    #                          0     1     2      3      4         5      6         7
    flow = ControlFlow(program("MOV; IADD; FFMA; FFMA; @P0 BRA 2; IADD; @P1 BRA 1; EXIT"))
    assert [list(block) for block in flow.block] == [[0], [1], [2, 3, 4], [5, 6], [7]]
    assert [(loop.header, sorted(loop.blocks)) for loop in flow.loops] == [(2, [2]), (1, [1, 2, 3])]
    loop = flow.inner_loop(is_multiply_add)
    assert loop is not None
    assert loop.header == 2
    assert flow.shares(loop, is_multiply_add) == [pytest.approx(2 / 3)]


def test_a_share_is_of_one_way_through_the_loop() -> None:
    # Two ways, of 3 FFMA and of 1 FFMA and 2 others; both with a test, a branch, the end's addition and branch.
    #                          0      1         2     3     4     5      6     7    8    9     10        11
    flow = ControlFlow(program("ISETP; @P0 BRA 6; FFMA; FFMA; FFMA; BRA 9; FFMA; MOV; MOV; IADD; @P1 BRA 0; EXIT"))
    (loop,) = flow.loops
    assert flow.shares(loop, is_multiply_add) == [pytest.approx(3 / 8), pytest.approx(1 / 7)]
    assert flow.shares(loop, is_multiply_add, least=0.5) == [pytest.approx(3 / 8)]


def test_what_is_done_seldom() -> None:
    #                          0     1         2     3     4     5         6
    flow = ControlFlow(program("FFMA; @P0 BRA 4; SHFL; SHFL; FFMA; @P1 BRA 0; EXIT"))
    (loop,) = flow.loops
    rare = flow.seldom(loop, lambda instruction: instruction.name == "SHFL")
    assert [list(flow.block[b]) for b in rare] == [[2, 3]]
    assert flow.shares(loop, is_multiply_add)[0] == pytest.approx(2 / 6)
    assert flow.shares(loop, is_multiply_add, weight=lambda b: 0.5 if b in rare else 1)[0] == pytest.approx(2 / 5)
    assert not flow.seldom(loop, lambda instruction: instruction.name == "FFMA")  # in every turn


def test_products_on_tensor_cores() -> None:
    right = program("LDS; HMMA.16816.F32.BF16; HMMA.16816.F32; EXIT")
    assert gates.tensor_cores(right, True) == ""
    assert gates.tensor_cores(right, False).endswith("has 2 products on tensor cores, but should have none")
    for wrong in ("LDS; EXIT", "HMMA.16816.F16; EXIT", "HMMA.1684.F32.TF32; EXIT", "HMMA.16816.F32; FFMA; EXIT"):
        assert "products on tensor cores with sums in float32, and" in gates.tensor_cores(program(wrong), True)
    assert gates.tensor_cores(program("FFMA; DFMA; EXIT"), False) == ""
    assert gates.tensor_cores(program("HMMA.16816.F32; FFMA; EXIT"), True, alone=False) == ""


def launches(what: str) -> Iterator[Launch]:
    x, weight = torch.empty(1, 2, 4, 32, device="meta"), torch.empty(2, 1, 3, 3, device="meta")
    arguments = (x, weight) if what == "forward" else (x, x, weight)
    name = "causal_dwconv2d" if what == "forward" else "causal_dwconv2d_backward"
    yield from trace.count(name, *arguments, folder=PLANTED)


@needs_emulator
def test_bank_conflicts_are_found() -> None:
    found = {launch.kernel.split("::")[-1]: list(gates.conflicts(launch)) for launch in launches("forward")}
    assert {name for name, lines in found.items() if lines} == {"words<8>", "words<32>"}
    store, load = found["words<8>"]
    assert store == "lite_rtse::cuda::words<8>: store of 4 bytes at causal_dwconv2d.cu:15: 8.0-way, 50 % of all passes"
    assert load.endswith("load of 4 bytes at causal_dwconv2d.cu:17: 8.0-way, 50 % of all passes")


@needs_emulator
def test_passes_through_shared_memory() -> None:
    """By hand: a load of words takes as many passes as lanes share a bank, one of 16 bytes four, or two in pairs."""
    loads = {}
    for launch in launches("forward"):
        (load,) = (site for site in launch.sites if site.shared and not site.store)
        loads[launch.kernel.split("::")[-1]] = (load.requests, load.passes, load.fewest, load.worst)
    assert loads == {
        "words<1>": (1, 1, 1, 1),
        "words<2>": (1, 2, 1, 2),
        "words<8>": (1, 8, 1, 8),
        "words<32>": (1, 32, 1, 32),
        "quads<1>": (1, 4, 4, 1),
        "quads<2>": (1, 2, 2, 1),
    }


@needs_emulator
def test_bytes_and_sectors_of_global_memory() -> None:
    """By hand: 256 numbers moved by 8 blocks, 32 or 8 threads each; the weights' first 8 by all blocks."""
    narrow, wide = launches("backward")
    assert (narrow.read_bytes, narrow.written_bytes, narrow.parameter_bytes) == (1024, 1024, 0)
    assert (wide.read_bytes, wide.written_bytes, wide.parameter_bytes) == (1024, 1024, 32)
    x, weight, dx = wide.sites
    assert [(s.width, s.requests, s.accesses, s.passes) for s in (x, dx)] == [(16, 8, 64, 32)] * 2
    assert (weight.width, weight.requests, weight.accesses, weight.passes) == (4, 8, 64, 8)
    assert [s.parameter for s in wide.sites] == [False, True, False]
    assert [s.store for s in wide.sites] == [False, False, True]
    assert gates.wide_share(narrow, 16, store=False) == 0
    assert gates.wide_share(wide, 16, store=True) == 1
    assert gates.wide_share(wide, 16, store=False) == 1
    assert gates.wide_share(wide, 32, store=False) == 0


@needs_emulator
@pytest.mark.parametrize("blocks", [1, 3, 5])
def test_some_blocks_stand_for_all(blocks: int) -> None:
    x, weight = torch.empty(1, 2, 4, 32, device="meta"), torch.empty(2, 1, 3, 3, device="meta")
    whole = trace.count("causal_dwconv2d_backward", x, x, weight, folder=PLANTED)
    some = trace.count("causal_dwconv2d_backward", x, x, weight, folder=PLANTED, blocks=blocks)
    for w, s in zip(whole, some, strict=True):
        assert (s.blocks, s.blocks_run, w.blocks_run) == (8, blocks, 8)
        assert s.read_bytes == pytest.approx(w.read_bytes)
        assert s.parameter_bytes == w.parameter_bytes
        assert s.total("passes", shared=False) == pytest.approx(w.total("passes", shared=False))
