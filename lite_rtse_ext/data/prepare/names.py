"""Makes names of prepared files from arbitrary names."""

from __future__ import annotations

import hashlib
import os
from pathlib import PurePath

from lite_rtse_ext.data.rules import name as name_rule

__all__ = ["MOST_BYTES", "file_name", "plain", "target_path"]

MOST_BYTES = 200
"""Longest file name in bytes. File systems allow 255, and a temporary file has a longer name than the file itself."""

_HASH_DIGITS = 8


def plain(text: str, keep: str = "") -> str:
    """Return text that a manifest can hold. Invalid UTF-8, slashes and control characters become ``_``.

    Args:
        text: a name, as Python's ``os`` module returns it.
        keep: characters to leave unchanged, for example slashes.
    """
    decoded = os.fsencode(text).decode("utf-8", "replace")
    return "".join("_" if c not in keep and (ord(c) < 32 or c in "\x7f\ufffd/\\") else c for c in decoded)


def file_name(text: str, suffix: str = "") -> str:
    """Return a name with a suffix, of at most :data:`MOST_BYTES` bytes.

    The name is the text itself if the text is plain and short. Otherwise it is the plain text, shortened, and a hash of
    the original text. The hash keeps the names of two texts different.
    """
    name = f"{text}{suffix}"
    if plain(text) == text and len(os.fsencode(name)) <= MOST_BYTES and name_rule.holds(name):
        return name
    digest = hashlib.sha256(os.fsencode(text)).hexdigest()[:_HASH_DIGITS]
    kept = plain(text).encode()[: MOST_BYTES - len(suffix.encode()) - _HASH_DIGITS - 1].decode("utf-8", "ignore")
    return f"{kept}~{digest}{suffix}"


def target_path(relative: PurePath, suffix: str = "") -> PurePath:
    """Return the path of a prepared file below its folder. Each part is a plain, short name.

    The last part ends with the suffix.
    """
    *folders, last = relative.parts
    return PurePath(*map(file_name, folders), file_name(last, suffix))
