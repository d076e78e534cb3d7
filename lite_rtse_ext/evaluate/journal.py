"""Results as they come, in a file: a run that was interrupted goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lite_rtse_ext.evaluate.result import Result

__all__ = ["Journal", "files_of_model", "stamp"]


def stamp(paths: Iterable[Path]) -> list[list[Any]]:
    """What tells whether files are still the ones they were: name, size and time of each; missing ones count, too."""
    return [[str(path), *_size_and_time(path)] for path in paths]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


class Journal:
    """The results of one run so far. Those with errors are left out, so that they are tried again.

    Args:
        path: the file. One of the same run is gone on with; another one is replaced at the first result.
        about: what makes two runs the same; anything that JSON holds.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path, self._about = path, about
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        same = bool(lines) and _parsed(lines[0]) == json.loads(json.dumps(about))
        rows = [row for row in map(_parsed, lines[1:]) if isinstance(row, dict)] if same else []
        self._kept = {row["result"]["name"]: (row["stamp"], Result.from_plain(row["result"])) for row in rows}

    @property
    def count(self) -> int:
        """How many results there are."""
        return len(self._kept)

    def result(self, name: str, of: list[list[Any]]) -> Result | None:
        """A recording's result, if it is there and the recording is as it was; ``of`` is its :func:`stamp`."""
        kept_stamp, result = self._kept.get(name, (None, None))
        return result if kept_stamp == of else None

    def add(self, result: Result, of: list[list[Any]]) -> None:
        """Keep a result."""
        if result.errors:
            return
        if not self._kept:
            self._path.write_text(json.dumps(self._about) + "\n", encoding="utf-8")
        self._kept[result.name] = of, result
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stamp": of, "result": asdict(result)}) + "\n")

    def remove(self) -> None:
        """The run is complete."""
        self._path.unlink(missing_ok=True)


def _parsed(line: str) -> Any:
    """What a line holds; the last one may be cut short."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def files_of_model(path: Path) -> Sequence[Path]:
    """The files that a model is read from: itself, or those of a run's folder."""
    return sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
