"""Journal of results: each is appended to a file at once, so that an interrupted evaluation can be resumed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lite_rtse_ext.evaluate.result import Result
from lite_rtse_ext.utils.atomic_file import writing

__all__ = ["Journal", "files_of_model", "stamp"]


def stamp(paths: Iterable[Path]) -> list[list[Any]]:
    """Return name, size in bytes and modification time in ns of each file. A change of a file changes its stamp.

    A missing file has the size -1 and the time -1.
    """
    return [[str(path), *_size_and_time(path)] for path in paths]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


class Journal:
    """The results of one evaluation so far. Results with errors are not kept, so that a resumed run tries them again.

    Args:
        path: the file. A journal of the same run is continued. Any other file is replaced at the first result.
        about: identifies the run: two runs are the same if this is equal. It must be representable in JSON.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path, self._about = path, about
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        same = bool(lines) and _parsed(lines[0]) == json.loads(json.dumps(about))
        rows = [row for row in map(_parsed, lines[1:]) if isinstance(row, dict)] if same else []
        self._kept = {row["result"]["name"]: (row["stamp"], Result.from_plain(row["result"])) for row in rows}

    @property
    def count(self) -> int:
        """The number of results."""
        return len(self._kept)

    def result(self, name: str, of: list[list[Any]]) -> Result | None:
        """Return the result of a recording, or None if there is none or the recording has changed.

        Args:
            name: name of the recording.
            of: current :func:`stamp` of its files.
        """
        kept_stamp, result = self._kept.get(name, (None, None))
        return result if kept_stamp == of else None

    def add(self, result: Result, of: list[list[Any]]) -> None:
        """Append a result to the file, unless it has errors. ``of`` is the :func:`stamp` of the recording's files."""
        if result.errors:
            return
        with writing(self._path):
            if not self._kept:
                self._path.write_text(json.dumps(self._about), encoding="utf-8")
            self._kept[result.name] = of, result
            with self._path.open("a", encoding="utf-8") as file:
                # The line end comes first: the last line may be incomplete, and must not take this one with it.
                file.write("\n" + json.dumps({"stamp": of, "result": asdict(result)}))

    def remove(self) -> None:
        """Delete the file, once the run is complete."""
        self._path.unlink(missing_ok=True)


def _parsed(line: str) -> Any:
    """Parse a line. An invalid line gives None: the process may have ended while it wrote the line."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def files_of_model(path: Path) -> Sequence[Path]:
    """Return the files that a model is read from: the file itself, or the files of a run's folder."""
    return sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
