"""What a run leaves out, and that it says why."""

from __future__ import annotations

import pytest
import torch

from lite_rtse_ext import ops

from .conftest import why_no_cuda
from .forks import Done, python

NEEDS_GPUS = "tests/cuda/test_devices.py"


def run(*arguments: str) -> Done:
    code = "import sys, torch, pytest; torch.cuda.is_available = lambda: False; sys.exit(pytest.main(sys.argv[1:]))"
    return python("-c", code, "-q", "-p", "no:cacheprovider", *arguments)


@pytest.mark.parametrize(
    ("found", "kernels", "needed", "reason"),
    [
        (0, True, 1, "no CUDA GPU on this machine"),
        (0, True, 2, "no CUDA GPU on this machine"),
        (1, True, 2, "expected 2 CUDA GPUs, got 1"),
        (1, False, 1, "the native library was built without CUDA kernels"),
        (1, True, 1, ""),
        (2, True, 2, ""),
    ],
)
def test_a_gpu_is_usable_or_it_is_said_why_not(
    monkeypatch: pytest.MonkeyPatch, found: int, kernels: bool, needed: int, reason: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    monkeypatch.setattr(ops, "has_cuda", lambda: kernels)
    assert why_no_cuda(needed) == reason


def test_what_can_not_run_is_left_out_with_one_line() -> None:
    printed = run(NEEDS_GPUS, "tests/stream/test_same_as_offline.py::test_ten_minutes").stdout
    assert "left out: 24 tests: no CUDA GPU on this machine\n" in printed
    assert "left out: 2 tests: minutes or gigabytes; --slow runs them\n" in printed
    assert "26 deselected" in printed
    assert "skipped" not in printed


def test_what_is_asked_for_says_itself_why_it_can_not_run() -> None:
    printed = run("-m", "cuda", NEEDS_GPUS).stdout
    assert "24 skipped" in printed
    assert "SKIPPED [4] tests/cuda/test_devices.py:" in printed
    assert "left out" not in printed


def test_what_has_a_target_of_its_own_runs_by_its_path_alone(request: pytest.FixtureRequest) -> None:
    folders = ("tests/cuda", "tests/native", "tests/simt")
    assert {*folders} <= {*request.config.getini("norecursedirs")}
    assert "tests/native/test_budgets.py::test_loops_of\n" in run("--collect-only", "tests/native").stdout
    collected = run("--collect-only", "tests", "--ignore-glob=tests/[!n]*").stdout
    assert "tests/nn/" in collected
    assert "tests/native/" not in collected
