"""Tasks in several processes, where a process that dies costs one task and no more.

C code that judges sound can end its process, and so can a lack of memory. The executors of the standard library then
lose every task, and do not say which one it was.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar, cast

__all__ = ["Lost", "run_tasks"]

T = TypeVar("T")

_CONTEXT = multiprocessing.get_context("spawn")  # forked children of a process that ran torch can hang
_MOST_DEATHS_AT_START = 5


@dataclass(frozen=True)
class Lost:
    """A task without a result; the reason is that its process died, or what the task raised."""

    reason: str


@dataclass(frozen=True)
class _Refused:
    """A process could not be set up; the reason is what was raised."""

    reason: str


def run_tasks(
    set_up: Callable[[], Callable[[int], T]], tasks: Sequence[int], jobs: int
) -> Iterator[tuple[int, T | Lost]]:
    """Run tasks, each known by its number; yields every number with its result, in the order in which they end.

    Args:
        set_up: runs once in each process and returns the function that does a task there. It must pickle, and so must
            the results.
        tasks: the numbers.
        jobs: processes.

    Raises:
        RuntimeError: ``set_up`` raised something; the message says what.
    """
    waiting = list(reversed(tasks))
    workers = [_Worker(set_up) for _ in range(min(jobs, len(waiting)))]
    deaths_at_start = 0
    try:
        while workers:
            for worker in _with_news(workers):
                message = worker.receive()
                if isinstance(message, _Refused):
                    raise RuntimeError(message.reason)
                if worker.task is not None:
                    yield worker.task, cast("T | Lost", message)
                elif worker.died:
                    deaths_at_start += 1
                worker.task = None
                if worker.died:
                    workers.remove(worker)
                    if waiting and deaths_at_start < _MOST_DEATHS_AT_START:
                        workers.append(_Worker(set_up))
                elif waiting:
                    worker.give(waiting.pop())
                else:
                    workers.remove(worker)
                    worker.dismiss()
        yield from ((number, Lost("no process could be started for it")) for number in reversed(waiting))
    finally:
        for worker in workers:
            worker.kill()


class _Worker(Generic[T]):
    """A process, the line to it, and the task it is at."""

    def __init__(self, set_up: Callable[[], Callable[[int], T]]) -> None:
        self.line, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, set_up), daemon=True)
        self._process.start()
        theirs.close()
        self.task: int | None = None
        self.died = False

    def receive(self) -> object:
        """The next thing that the process says; its last words are made up here."""
        try:
            return self.line.recv()
        except (EOFError, OSError):
            self.died = True
            self._process.join()
            self.line.close()
            return Lost(f"its process died ({_cause_of_death(self._process.exitcode)})")

    def give(self, number: int) -> None:
        self.task = number
        with suppress(OSError):  # it has died since: the next thing received says so
            self.line.send(number)

    def dismiss(self) -> None:
        self.line.close()
        self._process.join()

    def kill(self) -> None:
        self._process.kill()
        self.dismiss()


def _with_news(workers: Sequence[_Worker[T]]) -> list[_Worker[T]]:
    ready = wait([worker.line for worker in workers])
    return [worker for worker in workers if worker.line in ready]


def _serve(line: Connection, set_up: Callable[[], Callable[[int], T]]) -> None:
    """What a process does: says that it is ready, then answers each number with a result, until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    try:
        task = set_up()
    except Exception as error:
        line.send(_Refused(_described(error)))
        return
    line.send(None)
    with suppress(EOFError, OSError):
        while True:
            line.send(_attempt(task, line.recv()))


def _attempt(task: Callable[[int], T], number: int) -> T | Lost:
    try:
        return task(number)
    except Exception as error:
        return Lost(_described(error))


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _cause_of_death(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
