"""Processes that load the machine while something is timed."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from benchmarks.neighbors import busy_neighbors


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """All processes that are started from here on."""
    found: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def record(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        found.append(real(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(subprocess, "Popen", record)
    return found


def test_neighbors_run_until_the_block_ends(started: list[subprocess.Popen[bytes]]) -> None:
    with busy_neighbors(2):
        assert [neighbor.poll() for neighbor in started] == [None, None]
    assert all(neighbor.returncode is not None for neighbor in started)


def test_neighbors_end_when_the_block_fails(started: list[subprocess.Popen[bytes]]) -> None:
    with pytest.raises(KeyError), busy_neighbors(1):
        raise KeyError
    assert started[0].returncode is not None


def test_a_neighbor_that_ends_early_is_an_error(started: list[subprocess.Popen[bytes]]) -> None:
    beside = busy_neighbors(2)
    beside.__enter__()
    started[1].kill()
    started[1].wait()
    with pytest.raises(RuntimeError, match="neighbors: expected 2 until the end, got 1 that ended with"):
        beside.__exit__(None, None, None)
    assert started[0].returncode is not None
