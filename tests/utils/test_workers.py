"""Tasks in processes, of which some end theirs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lite_rtse_ext.audio.formats import AudioError
from lite_rtse_ext.utils.workers import Lost, run_in_order, run_tasks

ROOT = Path(__file__).parents[2]


class Unportable(Exception):
    """An exception that pickles, but can't be made from what it pickles to."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def work(task: int | str) -> int:
    if task == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "crashed":
        os.abort()
    if task == "left":
        os._exit(3)
    if task == "raised":
        raise AudioError("what\nit raises")
    if task == "unportable":
        raise Unportable("one", "two")
    assert isinstance(task, int)
    time.sleep(0.01 * (task % 3))
    return task * task


def ready() -> Callable[[int | str], int]:
    return work


def refusing() -> Callable[[int], int]:
    raise OSError("no\nweights")


def dying() -> Callable[[int], int]:
    os._exit(1)


def ready_once(mark: Path) -> Callable[[int | str], int]:
    """Only the first process gets ready."""
    if mark.exists():
        os._exit(1)
    mark.touch()
    return work


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(processes: int) -> None:
    assert list(run_in_order(work, range(12), processes)) == [task * task for task in range(12)]
    assert list(run_in_order(work, [], processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_a_task_that_ends_its_process_is_lost_alone(processes: int) -> None:
    tasks = [1, "killed", 2, "crashed", "left", 3]
    lost = [Lost(f"its process died ({how})") for how in ("SIGKILL", "SIGABRT", "exit code 3")]
    assert list(run_in_order(work, tasks, processes)) == [1, lost[0], 4, lost[1], lost[2], 9]
    assert dict(run_tasks(ready, tasks, processes)) == {
        **{1: 1, 2: 4, 3: 9},
        **dict(zip(("killed", "crashed", "left"), lost, strict=True)),
    }


def test_what_a_task_raises_is_raised_where_results_are_in_order() -> None:
    with pytest.raises(AudioError, match="what\nit raises"):
        list(run_in_order(work, [1, "raised", *range(100)], 2))
    with pytest.raises(RuntimeError, match="Unportable: one and two"):
        list(run_in_order(work, ["unportable"], 1))


def test_what_a_task_raises_is_its_result_where_they_are_as_they_end() -> None:
    found = dict(run_tasks(ready, [1, "raised", "unportable", 2], 2))
    assert found == {
        **{1: 1, 2: 4},
        "raised": Lost("AudioError: what it raises"),
        "unportable": Lost("Unportable: one and two"),
    }


def test_what_can_not_be_set_up_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="OSError: no weights"):
        list(run_tasks(refusing, range(3), 2))


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_that_never_start_end_the_run(processes: int) -> None:
    with pytest.raises(RuntimeError, match=r"no process could be started: exit code 1; .*__main__"):
        list(run_tasks(dying, [7, 9], processes))


def test_a_process_that_can_not_be_replaced_ends_the_run(tmp_path: Path) -> None:
    outcomes = run_tasks(partial(ready_once, tmp_path / "mark"), ["killed", 2], 1)
    assert next(outcomes) == ("killed", Lost("its process died (SIGKILL)"))
    with pytest.raises(RuntimeError, match="no process could be started"):
        next(outcomes)


def test_without_tasks_nothing_starts() -> None:
    assert list(run_tasks(refusing, [], 4)) == []


def test_an_abandoned_run_ends_its_processes() -> None:
    before = set(multiprocessing.active_children())
    results = run_in_order(work, range(100), 2)
    assert next(results) == 0
    assert len(set(multiprocessing.active_children()) - before) == 2
    del results
    assert set(multiprocessing.active_children()) <= before


def linger(mark: Path | None) -> None:
    """A task that takes long, and deletes its file whenever it ends."""
    if mark is None:
        return
    try:
        mark.touch()
        time.sleep(30)
    finally:
        mark.unlink()


def test_an_interrupted_run_ends_its_tasks_at_once(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    results = run_in_order(linger, [None, mark], 2)
    assert next(results) is None
    deadline = time.monotonic() + 20
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert mark.exists()
    began = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 15
    assert not mark.exists()


SLOW_MODULE = """
import os, pathlib, time

if os.environ.setdefault("FIRST", str(os.getpid())) != str(os.getpid()):
    pathlib.Path(os.environ["MARK"]).touch()
    time.sleep(0.5)

def work(task):
    return task
"""
MAIN = """
import slow
from lite_rtse_ext.utils.workers import run_in_order

if __name__ == "__main__":
    try:
        list(run_in_order(slow.work, [1]))
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_an_interruption_while_modules_are_imported_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_MODULE)
    (tmp_path / "main.py").write_text(MAIN)
    mark = tmp_path / "mark"
    process = subprocess.Popen(
        [sys.executable, tmp_path / "main.py"],
        env={**os.environ, "MARK": str(mark), "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60) == ("interrupted\n", "")
