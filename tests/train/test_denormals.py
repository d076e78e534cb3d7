"""Denormals are flushed within, in every thread of PyTorch's, and no longer."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from lite_rtse_ext.train.denormals import flushed_denormals

MANY = 10_000_000  # so many that PyTorch spreads them over its threads

KEPT = f"""
import torch
from lite_rtse_ext.train.denormals import flushed_denormals
torch.set_num_threads(2)
def kept():
    return int(torch.full(({MANY},), 1e-30).mul(1e-10).count_nonzero())
"""


def kept() -> int:
    """How many of many denormals are not counted as zero."""
    return int(torch.full((MANY,), 1e-30).mul(1e-10).count_nonzero())


def fail_within() -> None:
    with flushed_denormals():
        raise KeyError


@pytest.mark.usefixtures("thread_count")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("before", [False, True])
def test_denormals_are_flushed_within_alone(before: bool, threads: int) -> None:
    torch.set_num_threads(threads)
    kept()  # the threads are there
    torch.set_flush_denormal(before)  # in this thread alone
    as_before = kept()
    try:
        with flushed_denormals():
            assert kept() == 0
            with flushed_denormals():
                assert kept() == 0
            assert kept() == 0
        assert kept() == as_before
        with pytest.raises(KeyError):
            fail_within()
        assert kept() == as_before
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.usefixtures("thread_count")
@pytest.mark.parametrize(("outside", "within"), [(1, 2), (2, 1), (3, 2), (2, 3)])
def test_all_is_put_back_where_the_number_of_threads_changed(outside: int, within: int) -> None:
    torch.set_num_threads(outside)
    with flushed_denormals():
        torch.set_num_threads(within)
        assert kept() < MANY
    assert torch.get_num_threads() == within
    assert kept() == MANY
    torch.set_num_threads(outside)
    assert kept() == MANY


@pytest.mark.parametrize("first", ["kept()", ""], ids=["threads from before", "threads that start within"])
def test_in_a_process_of_its_own(first: str) -> None:
    code = f"{KEPT}\n{first}\nwith flushed_denormals(): print(kept())\nprint(kept())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", str(MANY)]
