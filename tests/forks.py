"""Python in processes of its own that start in no time: forked from one that has imported what takes seconds.

What they do, how they end, and what they leave is their own, as with any ``python ARGUMENTS``. But they never ran
anything before, as a fork of the tests' own process would have: threads that have run leave it unusable.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIMEOUT_SECONDS = 300

Done = subprocess.CompletedProcess[str]


def python(
    *arguments: str | Path, imported: Sequence[str] = ("torch",), cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> Done:
    """What ``python ARGUMENTS`` gives: ``-c CODE``, ``-m MODULE`` or a script, and then the arguments for it."""
    (done,) = side_by_side(*arguments, imported=imported, cwd=cwd, envs=[os.environ if env is None else env])
    return done


def side_by_side(
    *arguments: str | Path, envs: Sequence[Mapping[str, str]], imported: Sequence[str] = ("torch",), cwd: Path = ROOT
) -> list[Done]:
    """The same at the same time in a process for each environment."""
    command = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        outputs = [[f"{folder}/{number}.{name}" for name in ("stdout", "stderr")] for number in range(len(envs))]
        codes = _server(tuple(imported)).run(command, str(cwd), [dict(env) for env in envs], outputs)
        texts = [[Path(path).read_text() for path in paths] for paths in outputs]
    return [Done(command, code, *printed) for code, printed in zip(codes, texts, strict=True)]


class _Server:
    """It imports the modules and ends when this process does."""

    def __init__(self, imported: Sequence[str]) -> None:
        command = [sys.executable, "-m", "tests.forks", *imported]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *request: object) -> list[int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        codes: list[int] = json.loads(self.process.stdout.readline())
        return codes


_server = cache(_Server)


def _serve(imported: Sequence[str]) -> None:
    for name in imported:
        import_module(name)
    for line in sys.stdin:
        command, cwd, envs, outputs = json.loads(line)
        processes = []
        for env, paths in zip(envs, outputs, strict=True):
            process = os.fork()
            if process == 0:
                os._exit(_run(command, cwd, env, paths))  # an exit would join threads that the fork does not have
            processes.append(process)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in processes]), flush=True)


def _run(command: Sequence[str], cwd: str, env: Mapping[str, str], outputs: Sequence[str]) -> int:
    """The exit code."""
    for descriptor, path in enumerate((os.devnull, *outputs)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    signal.alarm(TIMEOUT_SECONDS)
    try:
        _interpret(*command)
        return 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()


def _interpret(first: str, *rest: str) -> None:
    if first == "-c":
        sys.path[0], sys.argv = "", ["-c", *rest[1:]]
        exec(rest[0], {"__name__": "__main__"})
    elif first == "-m":
        sys.path[0], sys.argv = os.getcwd(), ["-m", *rest[1:]]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv = os.path.dirname(os.path.abspath(first)), [first, *rest]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    _serve(sys.argv[1:])
