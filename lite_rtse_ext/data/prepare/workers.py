"""Jobs in several processes. One that ends its process, as a decoder that crashes does, is lost alone."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Generic, TypeVar

from lite_rtse_ext.benchmark.environment import cores

__all__ = ["WorkerDied", "in_processes"]

_NEEDED = ["lite_rtse_ext.data.prepare.convert"]
"""Imported once, by the server."""

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


class WorkerDied(RuntimeError):
    """The process that did a job ended before it had a result."""


def in_processes(
    work: Callable[[_Job], _Result], jobs: Sequence[_Job], processes: int | None = None
) -> Iterator[_Result | WorkerDied]:
    """The results of jobs, in their order.

    The processes are forks of a small server, not of this process: a fork of a process with threads can hang. So a
    script that calls this must do so under ``if __name__ == "__main__":``.

    Args:
        work: a function of a module; what it raises is raised here.
        jobs: its arguments.
        processes: how many there are at most; by default one for each core.

    Yields:
        A result, or why there is none.

    Raises:
        RuntimeError: no process could be started.
    """
    pool = _Pool(work, jobs)
    try:
        for _ in range(min(processes or cores(), len(jobs))):
            pool.start()
        for index in range(len(jobs)):
            while index not in pool.results:
                pool.step()
            yield pool.results.pop(index)
    finally:
        pool.close()


class _Pool(Generic[_Job, _Result]):
    """Processes, each with the number of the job it is at; ``None`` before its first one."""

    def __init__(self, work: Callable[[_Job], _Result], jobs: Sequence[_Job]) -> None:
        self.results: dict[int, _Result | WorkerDied] = {}
        self._work, self._jobs = work, jobs
        self._waiting = iter(range(len(jobs)))
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_NEEDED)
        self._busy: dict[Connection, tuple[ForkServerProcess, int | None]] = {}
        self._all: list[ForkServerProcess] = []

    def start(self) -> None:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(there, self._work), daemon=True)
        process.start()
        there.close()
        self._busy[here] = (process, None)
        self._all.append(process)

    def step(self) -> None:
        """Wait until a process has something to say, and give it the next job."""
        for connection in wait(list(self._busy)):
            assert isinstance(connection, Connection)
            process, index = self._busy[connection]
            try:
                result, error = connection.recv()
            except (EOFError, OSError):
                self._bury(connection)
                continue
            if error is not None:
                raise error
            if index is not None:
                self.results[index] = result
            self._give(connection, process)

    def _give(self, connection: Connection, process: ForkServerProcess) -> None:
        index = next(self._waiting, None)
        if index is None:
            connection.close()
            del self._busy[connection]
            return
        self._busy[connection] = (process, index)
        try:
            connection.send(self._jobs[index])
        except OSError:
            self._bury(connection)

    def _bury(self, connection: Connection) -> None:
        process, index = self._busy.pop(connection)
        connection.close()
        process.join()
        if index is None:
            raise RuntimeError(
                f"a worker process could not be started ({_how(process.exitcode)}); "
                'a script must call this under `if __name__ == "__main__":`'
            )
        self.results[index] = WorkerDied(f"the process that read it ended ({_how(process.exitcode)})")
        self.start()

    def close(self) -> None:
        """A process ends once its connection is closed and its job is done, so that no file stays half written."""
        for connection in self._busy:
            connection.close()
        for process in self._all:
            process.join()


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _serve(connection: Connection, work: Callable[[_Job], object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which closes the connection
    with suppress(EOFError, OSError):  # closed: nobody waits for results any more
        connection.send((None, None))
        while True:
            connection.send(_answer(work, connection.recv()))


def _answer(work: Callable[[_Job], object], job: _Job) -> tuple[object, Exception | None]:
    try:
        return work(job), None
    except Exception as error:
        return None, error
