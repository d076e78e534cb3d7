"""What lies in folders of recordings: every file is either taken or named."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from lite_rtse_ext.audio.io import CONTAINERS
from lite_rtse_ext.data.manifest import ManifestError

__all__ = ["SUFFIXES", "find_audio"]

SUFFIXES = frozenset(CONTAINERS) | {".g722"}
_MOST_NAMED = 5
_COMPANION = "._"
"""What macOS puts in front of the name of a file to keep its attributes in a second one."""


def find_audio(folder: Path, target: Path, report: Callable[[str], None]) -> list[Path]:
    """The audio files in a folder, sorted; those in sub-folders and linked folders too, each folder once.

    Args:
        folder: where to look.
        target: the folder to be filled; what lies in it is not looked at.
        report: is called with a line about each kind of file that is left out.

    Raises:
        OSError: a folder can't be read.
        ManifestError: there is no such folder, or no audio in it.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder")
    found: list[Path] = []
    others: dict[str, list[str]] = defaultdict(list)
    for path in _walk(folder, target.resolve(), others):
        reason = _reason(path)
        if reason is None:
            found.append(path)
        else:
            others[reason].append(str(path.relative_to(folder)))
    for reason, names in sorted(others.items()):
        report(f"{folder}: {len(names)} left out, {reason}: {_some(sorted(names))}")
    if not found:
        raise ManifestError(f"{folder}: no audio files (looked for {' '.join(sorted(SUFFIXES))})")
    return sorted(found)


def _walk(folder: Path, target: Path, others: dict[str, list[str]]) -> Iterator[Path]:
    seen = set()
    for here, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        if Path(here).resolve() == target:
            folders.clear()
            continue
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            others["folders that were read under another name"].append(os.path.relpath(here, folder))
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (Path(here, name) for name in files)


def _refuse(error: OSError) -> None:
    raise error


def _reason(path: Path) -> str | None:
    """Why a file is not taken, or nothing if it is."""
    if path.name.startswith(_COMPANION):
        return "companions of other files, which macOS writes"
    if not path.exists():
        return "links to files that are not there"
    if not path.is_file():
        return "no regular files"
    if path.suffix.lower() not in SUFFIXES:
        return f"files of a kind that is not read here ({path.suffix.lower() or 'no suffix'})"
    return None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
