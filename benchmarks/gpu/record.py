"""Parts of a pass: run each as a process of its own, within a time limit, and write what happened at once."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lite_rtse_ext.utils.atomic_file import replacing

PASSED, FAILED, CUT_OFF, LEFT_OUT = "passed", "failed", "cut off", "left out"
NO_TESTS = 5  # pytest's exit status if it ran no test
_ENDED = re.compile(r"^(tests/\S.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """One part of a pass.

    Args:
        name: name of the part and of its files.
        command: the command. It runs in the folder with the build.
        limit_s: seconds after which the part is ended.
        tool: a program that the part needs besides Python.
        tests: whether the command runs pytest. What passed before is then not run again.
    """

    name: str
    command: Sequence[str]
    limit_s: float
    tool: str = ""
    tests: bool = False


@dataclass(frozen=True)
class Record:
    """What happened to a part: written beside its log, and its data if it measures."""

    part: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    limit_s: float = 0.0
    date: str = ""
    tests: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> str:
        """How many tests ended in which way."""
        return ", ".join(f"{n} {how}" for how, n in sorted(Counter(self.tests.values()).items()))


class Results:
    """The folder of all records, logs and data of one build on one machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def log(self, part: str) -> Path:
        return self.folder / f"{part}.log"

    def data(self, part: str) -> Path:
        """Where a part that measures writes its JSON."""
        return self.folder / f"{part}-data.json"

    def read(self, part: str) -> Record | None:
        """The record of an earlier pass, or None."""
        with suppress(FileNotFoundError):
            return Record(**json.loads((self.folder / f"{part}.json").read_text(encoding="utf-8")))
        return None

    def write(self, record: Record) -> Record:
        write_json(self.folder / f"{record.part}.json", asdict(record))
        return record


def write_json(path: Path, data: Any) -> None:
    """Write JSON that appears under its name only when it is complete."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def run(part: Part, results: Results, limit_s: float, cwd: Path, environment: Mapping[str, str]) -> Record:
    """Run a part, and end it and all that it started after ``limit_s`` seconds."""
    before = results.read(part.name)
    known = {name: how for name, how in before.tests.items() if how == "PASSED"} if before else {}
    command = [*part.command, *(_without(known, results, part.name) if part.tests and known else [])]
    began, log = time.monotonic(), results.log(part.name)
    with log.open("w", encoding="utf-8") as output:
        output.write(" ".join(command) + "\n")
        output.flush()
        status = _wait(command, output, limit_s, cwd, environment)
    found = Record(
        part=part.name,
        seconds=round(time.monotonic() - began, 1),
        limit_s=round(limit_s, 1),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        tests=known | (outcomes(log.read_text(encoding="utf-8", errors="replace")) if part.tests else {}),
        **_judged(status, limit_s, part.tests and bool(known)),
    )
    return results.write(found)


def _judged(status: int | None, limit_s: float, some_passed: bool) -> dict[str, str]:
    if status is None:
        return {"status": CUT_OFF, "reason": f"not finished after {limit_s:.0f} s"}
    if status == NO_TESTS and not some_passed:
        return {"status": LEFT_OUT, "reason": "none of its tests runs on this machine"}
    if status == 0 or (status == NO_TESTS and some_passed):
        return {"status": PASSED}
    return {"status": FAILED, "reason": f"exit status {status}, see the log"}


def outcomes(log: str) -> dict[str, str]:
    """How each test ended, from the output of ``pytest -v``. A log that was cut off has those that ended in time."""
    return dict(_ENDED.findall(log))


def _without(known: Mapping[str, str], results: Results, part: str) -> list[str]:
    """The argument by which pytest leaves out what passed before: a file with one argument a line."""
    path = results.folder / f"{part}.passed"
    path.write_text("".join(f"--deselect={name}\n" for name in known), encoding="utf-8")
    return [f"@{path.resolve()}"]


def _wait(command: Sequence[str], output: Any, limit_s: float, cwd: Path, environment: Mapping[str, str]) -> int | None:
    """The exit status, or None after the limit. The command gets a process group of its own, which ends as a whole."""
    try:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    except OSError as error:
        output.write(f"{error}\n")
        return 127
    try:
        return process.wait(limit_s)
    except BaseException as error:  # also if someone ends the pass: what it started must not stay
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return None
        raise
