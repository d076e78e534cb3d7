"""Each instruction set that this machine can run gives right results; LITE_RTSE_ISA chooses it, or is refused."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from lite_rtse_ext import ops

from ..forks import Done, python

KNOWN = ("baseline", "avx2", "avx512", "neon")
RUNNABLE = ops.isas() if ops.available() else []


def run_python(*arguments: str, isa: str | None) -> Done:
    """Python in a process of its own, with LITE_RTSE_ISA set or unset."""
    environment = {name: value for name, value in os.environ.items() if name != "LITE_RTSE_ISA"}
    return python(*arguments, env=environment | ({"LITE_RTSE_ISA": isa} if isa is not None else {}))


PRINT_ISA = "from lite_rtse_ext import ops; print(ops.isa())"

# Uses a kernel, so that it fails whether the choice is made when the library is loaded or at the first use.
USE_A_KERNEL = (
    "import torch; from lite_rtse_ext import ops;ops.causal_dwconv2d(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 3, 3))"
)


def test_the_list_is_of_known_names() -> None:
    assert RUNNABLE
    assert set(RUNNABLE) <= set(KNOWN)
    assert ops.isa() in RUNNABLE
    if platform.machine() == "x86_64":
        assert "baseline" in RUNNABLE
        assert "neon" not in RUNNABLE


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads the processor's flags from /proc/cpuinfo")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="an x86 processor's flags")
def test_the_list_is_what_the_processor_says() -> None:
    flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    assert ("avx2" in RUNNABLE) == ({"avx2", "fma"} <= flags)
    assert ("avx512" in RUNNABLE) == ({"avx2", "fma", "avx512f", "avx512vl", "avx512dq", "avx512bw"} <= flags)


def test_the_best_is_chosen_where_none_is_named() -> None:
    done = run_python("-c", PRINT_ISA, isa=None)
    best = max(RUNNABLE, key=lambda name: ("baseline", "neon", "avx2", "avx512").index(name))
    assert done.stdout.split() == [best], done.stderr


@pytest.mark.parametrize("isa", RUNNABLE)
def test_accuracy(isa: str) -> None:
    done = run_python("-m", "tests.ops.isa_check", isa=isa)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{isa}: ")
    assert " 0 failures" in done.stdout


@pytest.mark.parametrize("isa", ["avx1024", "AVX2", " ", *(name for name in KNOWN if name not in RUNNABLE)])
def test_what_cannot_run_is_refused(isa: str) -> None:
    """By a Python exception that names the variable and its value, not by a crash in a kernel."""
    done = run_python("-c", USE_A_KERNEL, isa=isa)
    assert done.returncode == 1, f"exit status {done.returncode}: {done.stderr}"
    assert "LITE_RTSE_ISA" in done.stderr
    assert f"'{isa}'" in done.stderr


def test_unknown_name_lists_the_known_ones() -> None:
    done = run_python("-c", USE_A_KERNEL, isa="avx1024")
    assert all(name in done.stderr for name in RUNNABLE), done.stderr
