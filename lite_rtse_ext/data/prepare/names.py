"""Names of prepared files, out of names of any kind."""

from __future__ import annotations

import hashlib
import os
from pathlib import PurePath

from lite_rtse_ext.data.rules import name as name_rule

__all__ = ["MOST_BYTES", "file_name", "plain", "target_path"]

MOST_BYTES = 200
"""Of a name: file systems hold 255, of which a temporary file needs some more than the file itself."""

_HASH_DIGITS = 8


def plain(text: str, keep: str = "") -> str:
    """Text that a manifest can hold: what is no character of UTF-8, a slash or a control character becomes ``_``.

    Args:
        text: a name, as the operating system gives it.
        keep: slashes that may stay.
    """
    decoded = os.fsencode(text).decode("utf-8", "replace")
    return "".join("_" if c not in keep and (ord(c) < 32 or c in "\x7f\ufffd/\\") else c for c in decoded)


def file_name(text: str, suffix: str = "") -> str:
    """A name with a suffix, of :data:`MOST_BYTES` bytes at most: the text itself where it is plain and short.

    Another text becomes a plain one, cut short, with the hash of the whole, so that two texts stay two names.
    """
    name = f"{text}{suffix}"
    if plain(text) == text and len(os.fsencode(name)) <= MOST_BYTES and name_rule.holds(name):
        return name
    digest = hashlib.sha256(os.fsencode(text)).hexdigest()[:_HASH_DIGITS]
    kept = plain(text).encode()[: MOST_BYTES - len(suffix.encode()) - _HASH_DIGITS - 1].decode("utf-8", "ignore")
    return f"{kept}~{digest}{suffix}"


def target_path(relative: PurePath, suffix: str = "") -> PurePath:
    """The path of a prepared file below its folder: each part a plain and short name, the suffix behind the last."""
    *folders, last = relative.parts
    return PurePath(*map(file_name, folders), file_name(last, suffix))
