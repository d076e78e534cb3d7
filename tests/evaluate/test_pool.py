"""Tasks in processes that may die."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from lite_rtse_ext.evaluate.pool import Lost, run_tasks


def _trouble(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 4:
        os._exit(3)
    if number == 5:
        raise ValueError("not\nthis one")
    return 10 * number


def _with_trouble() -> Callable[[int], int]:
    return _trouble


def _refusing() -> Callable[[int], int]:
    raise OSError("no weights")


def _dying() -> Callable[[int], int]:
    os._exit(1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_process_that_dies_costs_one_task(jobs: int) -> None:
    found = dict(run_tasks(_with_trouble, range(8), jobs))
    assert found == {
        **{number: 10 * number for number in (0, 1, 3, 6, 7)},
        2: Lost("its process died (SIGKILL)"),
        4: Lost("its process died (exit code 3)"),
        5: Lost("ValueError: not this one"),
    }


def test_what_can_not_be_set_up_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="OSError: no weights"):
        list(run_tasks(_refusing, range(3), 2))


def test_processes_that_never_start_end_the_run() -> None:
    assert dict(run_tasks(_dying, [7, 9], 1)) == dict.fromkeys([7, 9], Lost("no process could be started for it"))


def test_without_tasks_nothing_starts() -> None:
    assert list(run_tasks(_refusing, [], 4)) == []
