"""Safe file names from arbitrary text: every disk takes them, and the files stay in their folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from pathlib import PurePath

__all__ = ["MOST_BYTES", "file_name", "plain", "target_path", "unique_paths"]

MOST_BYTES = 200
"""Longest file name in bytes. File systems allow 255, and a temporary file has a longer name than the file itself."""

_HASH_DIGITS = 8
_RESERVED = '<>:"|?*'  # file systems of Windows refuse these characters


def plain(text: str, keep: str = "") -> str:
    """Return text that a manifest can hold. Invalid UTF-8, slashes and control characters become ``_``.

    Args:
        text: a name, as Python's ``os`` module returns it.
        keep: characters to leave unchanged, for example slashes.
    """
    decoded = os.fsencode(text).decode("utf-8", "replace")
    return "".join("_" if c not in keep and (ord(c) < 32 or c in "\x7f\ufffd/\\") else c for c in decoded)


def file_name(text: str, suffix: str = "") -> str:
    """Return the name of a visible file, of at most :data:`MOST_BYTES` bytes.

    The name is the text itself if that is such a name. Otherwise it is the text, made safe and shortened, and a hash of
    the original text. The hash keeps the names of two texts different.
    """
    safe = "".join("_" if c in _RESERVED else c for c in plain(text)).lstrip(".")
    fits = len(f"{safe}{suffix}".encode()) <= MOST_BYTES
    return f"{safe}{suffix}" if safe and safe == text and fits else _marked(safe, text, suffix)


def _marked(safe: str, original: str, suffix: str) -> str:
    digest = hashlib.sha256(os.fsencode(original)).hexdigest()[:_HASH_DIGITS]
    kept = safe.encode()[: MOST_BYTES - len(suffix.encode()) - _HASH_DIGITS - 1].decode("utf-8", "ignore")
    return f"{kept}~{digest}{suffix}"


def target_path(relative: PurePath, suffix: str = "") -> PurePath:
    """Return the path of a file below its folder. Each part is a :func:`file_name`, and the last ends with the suffix.

    Args:
        relative: any path. It may contain ``..``, or begin with a slash.
        suffix: the end of the file's name.
    """
    *folders, last = relative.parts or ("",)
    return PurePath(*map(file_name, folders), file_name(last, suffix))


def unique_paths(names: Sequence[str], suffix: str, replaced: Collection[str] = ()) -> list[PurePath]:
    """Return the :func:`target_path` of each name. No two paths are equal, even where case makes no difference.

    Args:
        names: different names.
        suffix: the end of each file's name.
        replaced: suffixes of names, in lower case. The new suffix takes their place.
    """
    taken: set[str] = set()
    chosen = []
    for name in names:
        stem = PurePath(name)
        stem = stem.with_suffix("") if stem.suffix.lower() in replaced else stem
        path = target_path(stem, suffix)
        if str(path).casefold() in taken:
            path = path.with_name(_marked(path.name.removesuffix(suffix), name, suffix))
        taken.add(str(path).casefold())
        chosen.append(path)
    return chosen
