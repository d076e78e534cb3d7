"""Safe file names for recordings with arbitrary names: the files stay in their folder, whatever the names contain."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from lite_rtse_ext.audio.io import CONTAINERS

__all__ = ["wav_names"]

_MOST_BYTES = 200
"""Maximum length of one part of a path. File systems allow 255 bytes, and temporary files have longer names."""


def wav_names(names: Sequence[str]) -> list[str]:
    """Return a relative path ending in ``.wav`` for each name. The paths are unique, and none leaves the folder.

    A name that is valid and unique remains as it is. Any other name is made valid. A hash of the whole name is appended
    to it.
    """
    taken: set[str] = set()
    chosen = []
    for name in names:
        path = _path_of(name)
        if path.casefold() in taken or path[: -len(".wav")] != _without_suffix(name):
            path = f"{path[: -len('.wav')]}-{_mark(name)}.wav"
        taken.add(path.casefold())
        chosen.append(path)
    return chosen


def _path_of(name: str) -> str:
    parts = [_fitting(part) for part in PurePosixPath(_without_suffix(name)).parts if part not in ("/", "//", "..")]
    return "/".join(part for part in parts if part) + ".wav" if any(parts) else "recording.wav"


def _fitting(part: str) -> str:
    plain = re.sub(r"[^\w.+,=@() -]", "_", part).lstrip(".")
    return plain.encode("utf-8", "replace")[:_MOST_BYTES].decode("utf-8", "ignore").rstrip()


def _without_suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in CONTAINERS else name


def _mark(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
