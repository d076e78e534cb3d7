"""What the machine code of every kernel has to hold. Each gate says what is wrong, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest

from .control_flow import ControlFlow
from .machine_code import Instruction, Kernel
from .trace import Launch, Site

HALF_TYPES = ("__half", "__nv_bfloat16")


def local_memory(kernel: Kernel) -> str:
    """Registers that do not suffice, and arrays at an index that is not known to the compiler, end up there."""
    accesses = kernel.count("LDL") + kernel.count("STL")
    if not (kernel.stack_bytes or kernel.local_bytes or accesses):
        return ""
    bytes_used = kernel.stack_bytes + kernel.local_bytes
    return f"{kernel} has {bytes_used} bytes of local memory a thread, with {accesses} loads and stores"


def registers(kernel: Kernel, assumed: Mapping[tuple[str, str], int]) -> str:
    """The occupancy that a plan counts on is there only if the kernel has no more registers than the plan assumes."""
    dtype = next(iter(kernel.template_arguments), "float")  # one that is no template computes in float32
    most = assumed.get((kernel.family, dtype))
    if most is None or kernel.registers <= most:
        return ""
    return f"{kernel} has {kernel.registers} registers a thread, but its plan assumes at most {most}"


def wide_accesses(kernel: Kernel, exempt: Iterable[str] = ()) -> Iterator[str]:
    """Global memory is read and written by 128 bits at a time, or by 4 half-precision numbers.

    Args:
        kernel: named by its storage types.
        exempt: of "loads" and "stores".
    """
    halves = any(argument in HALF_TYPES for argument in kernel.template_arguments)
    widths, least = (r"\.(64|128)", 64) if halves else (r"\.128", 128)
    for what, opcode in (("loads", "LDG?"), ("stores", "STG?")):
        narrow, wide = kernel.count(rf"{opcode}\..*"), kernel.count(rf"{opcode}\b.*{widths}\b.*")
        if what in exempt:
            if not narrow:
                yield f"{kernel} has no {what} of global memory: it needs no exemption"
        elif not wide:
            yield f"{kernel} has no {what} of global memory by {least} bits or more"


def share(
    kernel: Kernel,
    least: float,
    kind: str = "FFMA",
    seldom: str = "SHFL",
    period: int = 1,
) -> str:
    """The share of a kind of instruction in the inner loop, whichever way a warp goes through it.

    Args:
        kernel: has such a loop.
        least: share.
        kind: the instruction's name.
        seldom: marks what is done in one of ``period`` turns.
        period: turns.
    """

    def is_kind(instruction: Instruction) -> bool:
        return instruction.name == kind

    flow = ControlFlow(kernel)
    loop = flow.inner_loop(is_kind)
    if loop is None:
        return f"{kernel} has no loop with {kind}"
    rare = flow.seldom(loop, lambda instruction: instruction.name == seldom)
    shares = flow.shares(loop, is_kind, weight=lambda block: 1 / period if block in rare else 1.0)
    if min(shares) >= least:
        return ""
    return f"{kernel}: {100 * min(shares):.0f} % of what its inner loop issues are {kind}, at least {100 * least:.0f} %"


def on_tensor_cores(family: str, arguments: Sequence[str]) -> bool:
    """Whether a kernel with these template arguments multiplies on tensor cores, from compute capability 8.0 on."""
    if family in ("cascade_forward", "cascade_gradient"):
        return arguments[2] == "true"
    return family == "pointwise" and arguments[0] == arguments[1] and arguments[0] in HALF_TYPES


def tensor_cores(kernel: Kernel, wanted: bool, alone: bool = True) -> str:
    """Products are on tensor cores, of half types and with sums in float32; or none is. ``alone``: no others are."""
    found, right = kernel.count("HMMA"), kernel.count(r"HMMA\.16816\.F32(\.BF16)?")
    others = kernel.count("FFMA") + kernel.count("DFMA")
    if not wanted:
        return f"{kernel} has {found} products on tensor cores, but should have none" if found else ""
    if right and right == found and not (others and alone):
        return ""
    return f"{kernel} has {right} of {found} products on tensor cores with sums in float32, and {others} multiply-adds"


def conflicts(launch: Launch, most: float = 2.0, least_share: float = 0.05) -> Iterator[str]:
    """Where in the inner loops lanes of a warp want more than ``most`` different words of one bank of shared memory.

    On average: accesses at the end of a row may meet more often than the rest. Inner loops: loads and stores that take
    ``least_share`` of all passes through shared memory.
    """
    sites = [site for site in launch.sites if site.shared]
    total = sum(site.passes for site in sites)
    for site in sites:
        if site.conflict > most and site.passes >= least_share * total:
            share_here = f"{100 * site.passes / total:.0f} % of all passes"
            yield f"{launch.kernel}: {_described(site)}: {site.conflict:.1f}-way, {share_here}"


def _described(site: Site) -> str:
    return f"{'store' if site.store else 'load'} of {site.width} bytes at {site.where}"


def wide_share(launch: Launch, bytes_wide: int, store: bool) -> float:
    """Of the bytes of tensors that a launch loads or stores in global memory, the share by so many bytes at a time.

    1 where there are none. Parameters are few, and in no order of the kernel's.
    """
    chosen = [s for s in launch.sites if not (s.shared or s.parameter) and s.store == store]
    total = sum(site.bytes for site in chosen)
    return sum(site.bytes for site in chosen if site.width >= bytes_wide) / total if total else 1.0


def demand_nothing(found: Iterable[str]) -> None:
    """Fails the test with what was found, a line each; empty lines are nothing."""
    lines = [line for line in found if line]
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)
