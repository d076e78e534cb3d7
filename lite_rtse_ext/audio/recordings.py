"""The recordings in a folder, and remarks on all other files in it."""

from __future__ import annotations

import mimetypes
import os
import stat
from collections import deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lite_rtse_ext.utils.listing import listed

__all__ = ["Recordings", "find_recordings"]

_LONGEST_SUFFIX = 10  # with its dot; longer ones are parts of names, as in "Dr. Doe on birds"
_HIDDEN = "left out, hidden"
_MIME_TYPES = mimetypes.MimeTypes()  # Python's own list, the same on every system


@dataclass
class Recordings:
    """The contents of a folder.

    Args:
        folder: the folder.
        files: its recordings and those of its sub-folders, sorted. Each path begins with that of the folder.
        others: all other files and folders, grouped by their remark.
        errors: the errors of sub-folders that can't be read.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    others: dict[str, list[Path]] = field(default_factory=dict)
    errors: list[OSError] = field(default_factory=list)

    def remarks(self) -> list[str]:
        """Return a line for each kind of files that are not recordings: their number and the first names."""
        return [f"{len(paths)} {what}: {self._names(paths)}" for what, paths in sorted(self.others.items())]

    def note(self, what: str, path: Path) -> None:
        """Record a path that is not a recording."""
        self.others.setdefault(what, []).append(path)

    def leave_out(self, why_not: Callable[[Path], str | None]) -> None:
        """Move recordings for which ``why_not`` returns a remark to :attr:`others`."""
        reasons = {path: why_not(path) for path in self.files}
        self.files = [path for path, reason in reasons.items() if reason is None]
        for path, reason in reasons.items():
            if reason is not None:
                self.note(reason, path)

    def _names(self, paths: list[Path]) -> str:
        return listed(str(path.relative_to(self.folder)) for path in sorted(paths))


def find_recordings(folder: Path, suffixes: Container[str], outputs: Path | None = None) -> Recordings:
    """Find the recordings in a folder and its sub-folders by their suffixes.

    Links to sub-folders are followed. A folder that can be reached by several paths is read once. Its own path is
    preferred if it is in ``folder``. Hidden files and folders are not recordings: on drives of other systems, Finder
    creates a ``._talk.wav`` beside every ``talk.wav``.

    Args:
        folder: the folder.
        suffixes: suffixes of recordings, in lower case, with their dot.
        outputs: a folder that will be written to. It and links into it are left out. It may be inside ``folder``, or
            ``folder`` inside it.
    """
    found = Recordings(folder)
    is_output = _outputs(folder, outputs)
    for parent, names in _folders(found, is_output):
        for name in names:
            path = Path(parent, name)
            what = _no_recording(path, suffixes)
            if what is None and path.is_symlink() and is_output(path):
                what = "left out, a link to an output"
            if what is None:
                found.files.append(path)
            else:
                found.note(what, path)
    found.files.sort()
    return found


def _outputs(folder: Path, outputs: Path | None) -> Callable[[str | Path], bool]:
    """Return a test for paths in the folder of outputs that are not inputs. The test follows links."""
    if outputs is None:
        return lambda path: False
    real_inputs, real_outputs = Path(os.path.realpath(folder)), Path(os.path.realpath(outputs))
    inputs_inside = real_inputs.is_relative_to(real_outputs)

    def is_output(path: str | Path) -> bool:
        real = Path(os.path.realpath(path))
        return real.is_relative_to(real_outputs) and not (inputs_inside and real.is_relative_to(real_inputs))

    return is_output


def _folders(found: Recordings, is_output: Callable[[str | Path], bool]) -> Iterator[tuple[str, list[str]]]:
    """Yield every folder once with its file names: first the folders themselves, then the targets of links."""
    seen: set[tuple[int, int]] = set()
    starts = deque([found.folder])
    while starts:
        start = starts.popleft()
        if start != found.folder:
            again = "left out, a link to a folder that is read in another place"
            found.note(again if _identity(start) in seen else "linked, gone into", start)
        for parent, folders, files in os.walk(start, onerror=found.errors.append):
            identity = _identity(parent)
            if identity in seen or is_output(parent):
                folders.clear()
                continue
            seen.add(identity)
            for name in folders:
                if name.startswith("."):
                    found.note(_HIDDEN, Path(parent, name))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            links = (Path(parent, name) for name in folders)
            starts += [path for path in links if path.is_symlink() and not is_output(path)]
            yield parent, files


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _no_recording(path: Path, suffixes: Container[str]) -> str | None:
    """Return the remark on a file that is not a recording, or None for a recording."""
    if path.name.startswith("."):
        return _HIDDEN
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        regular = not path.is_symlink()  # the error of a file is reported when it is read
        if not regular:
            return "left out, a link that leads nowhere"
    if not regular:
        return "left out, no regular file"
    suffix = path.suffix.lower()
    if suffix in suffixes:
        return None
    return f"left out, {_kind(suffix)}"


def _kind(suffix: str) -> str:
    if not 1 < len(suffix) <= _LONGEST_SUFFIX:
        return "without a suffix that tells what is in it"
    known = _MIME_TYPES.guess_type(f"x{suffix}")[0] or "unknown"
    return f"as {suffix} is not read" if known.startswith(("audio", "video", "unknown")) else "no sound"
