"""Tasks in several processes. If a process dies, only its current task is lost.

C code that reads or evaluates audio can abort its process, and so can a lack of memory. The executors of the standard
library then lose every task, and do not report which one caused the abort.

The processes are forks of a small server process, because a fork of a process with threads can hang. A script must
therefore call these functions under ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Generic, NoReturn, TypeVar

from lite_rtse_ext.utils.cores import cores

__all__ = ["Lost", "run_in_order", "run_tasks"]

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_Work = Callable[[_Task], _Result]

_CONTEXT = multiprocessing.get_context("forkserver")
_HINT = 'a script must call this under `if __name__ == "__main__":`'


@dataclass(frozen=True)
class Lost:
    """A task without a result.

    Args:
        reason: how its process died, or which exception the task raised.
        error: the exception that the task raised; None if its process died.
    """

    reason: str
    error: Exception | None = field(default=None, compare=False)


def run_tasks(
    set_up: Callable[[], _Work[_Task, _Result]], tasks: Sequence[_Task], processes: int | None = None
) -> Iterator[tuple[_Task, _Result | Lost]]:
    """Run tasks, and yield each task with its result in the order of completion.

    Args:
        set_up: runs once in each process and returns the function that runs a task there. It must be picklable, and so
            must the tasks and the results.
        tasks: the arguments of that function.
        processes: maximum number of processes; by default one per core.

    Yields:
        The task, and its result or :class:`Lost`.

    Raises:
        RuntimeError: ``set_up`` raised an exception, which the message describes. Or no process could be started.
    """
    for index, outcome in _outcomes(set_up, tasks, processes, ()):
        yield tasks[index], outcome


def run_in_order(
    work: _Work[_Task, _Result], tasks: Sequence[_Task], processes: int | None = None
) -> Iterator[_Result | Lost]:
    """Run tasks, and yield their results in the order of the tasks.

    Args:
        work: a function of a module. The server process imports the module once. An exception that the function raises
            is raised here.
        tasks: the arguments of that function.
        processes: maximum number of processes; by default one per core.

    Yields:
        The result of each task, or :class:`Lost` if its process died.

    Raises:
        RuntimeError: no process could be started.
    """
    early: dict[int, _Result | Lost] = {}
    following = 0
    for index, outcome in _outcomes(partial(_itself, work), tasks, processes, [work.__module__]):
        if isinstance(outcome, Lost) and outcome.error is not None:
            raise outcome.error
        early[index] = outcome
        while following in early:
            yield early.pop(following)
            following += 1


def _itself(work: _Work[_Task, _Result]) -> _Work[_Task, _Result]:
    return work


def _outcomes(
    set_up: Callable[[], _Work[_Task, _Result]], tasks: Sequence[_Task], processes: int | None, imported: Sequence[str]
) -> Iterator[tuple[int, _Result | Lost]]:
    """Yield the index of each task and its outcome, in the order of completion.

    A process that dies during a task is replaced. One that dies before its first task is not.

    Args:
        imported: modules that the server process imports once, if it is not running yet.
    """
    _start_server(imported)
    waiting = list(reversed(range(len(tasks))))
    workers: list[_Worker[_Result]] = []
    dismissed: list[_Worker[_Result]] = []
    try:
        workers += [_Worker(set_up) for _ in range(min(processes or cores(), len(tasks)))]
        while workers:
            for worker in _with_news(workers):
                index, outcome = worker.receive()
                if worker.died:
                    workers.remove(worker)
                    dismissed.append(worker)
                    if waiting and index is not None:
                        workers.append(_Worker(set_up))
                elif waiting:
                    number = waiting.pop()
                    worker.give(number, tasks[number])
                else:
                    workers.remove(worker)
                    dismissed.append(worker)
                    worker.dismiss()
                if index is not None:
                    yield index, outcome
                elif waiting and not workers:
                    raise RuntimeError(f"no process could be started: {worker.cause_of_death}; {_HINT}")
    except BaseException:  # Ctrl-C, mostly, or nobody wants the other results
        for worker in workers:
            worker.stop()
        raise
    finally:
        for worker in workers:
            worker.dismiss()
        for worker in (*workers, *dismissed):
            worker.join()


def _start_server(imported: Sequence[str]) -> None:
    """Start the server process, unless it is running.

    Ctrl-C reaches every process of a terminal. The server ignores it only after its imports, which can take seconds.
    It inherits a mask that blocks Ctrl-C from the first moment on.
    """
    _CONTEXT.set_forkserver_preload(list(imported))
    resource_tracker.ensure_running()  # in some versions of Python the start of the tracker ends the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Worker(Generic[_Result]):
    """A process, the connection to it, and the index of its current task, which is None before the first one.

    A process ends when its connection is closed and its task is finished. :meth:`stop` ends the task, too, by an
    exception. The task can therefore delete files that are incomplete.
    """

    def __init__(self, set_up: Callable[[], Callable[..., _Result]]) -> None:
        self.line, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, set_up), daemon=True)
        self._process.start()
        theirs.close()
        self._index: int | None = None
        self.died = False

    def receive(self) -> tuple[int | None, _Result | Lost]:
        """Receive the index of the current task and its outcome. The index is None if no task was given yet.

        Raises:
            RuntimeError: the process could not be set up.
        """
        try:
            outcome = self.line.recv()
        except (EOFError, OSError):
            self.died = True
            self.dismiss()
            self.join()
            outcome = Lost(f"its process died ({self.cause_of_death})")
        if isinstance(outcome, _Refused):
            raise RuntimeError(outcome.reason)
        return self._index, outcome

    def give(self, index: int, task: object) -> None:
        self._index = index
        with suppress(OSError):  # the process has died: the next receive reports it
            self.line.send(task)

    def dismiss(self) -> None:
        self.line.close()

    def stop(self) -> None:
        self._process.terminate()

    def join(self) -> None:
        self._process.join()

    @property
    def cause_of_death(self) -> str:
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"


def _with_news(workers: Sequence[_Worker[_Result]]) -> list[_Worker[_Result]]:
    ready = wait([worker.line for worker in workers])
    return [worker for worker in workers if worker.line in ready]


@dataclass(frozen=True)
class _Refused:
    """A process could not be set up. The reason describes the exception."""

    reason: str


def _serve(line: Connection, set_up: Callable[[], _Work[_Task, _Result]]) -> None:
    """Run in the process: report readiness, then answer each task with its result until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process by SIGTERM
    signal.signal(signal.SIGTERM, _end)
    with suppress(EOFError, OSError):
        try:
            work = set_up()
        except Exception as error:
            line.send(_Refused(_described(error)))
            return
        line.send(None)
        while True:
            line.send(_attempt(work, line.recv()))


def _end(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)  # the exit code that a shell shows for this signal


def _attempt(work: _Work[_Task, _Result], task: _Task) -> _Result | Lost:
    try:
        return work(task)
    except Exception as error:
        return Lost(_described(error), _portable(error))


def _portable(error: Exception) -> Exception:
    """Return an exception that can be sent to another process. One that can't be pickled becomes a description."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(_described(error))
    return error


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
