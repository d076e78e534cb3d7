"""Selects recordings by their license. Letter case is ignored, as in the names of SPDX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from lite_rtse_ext.data.manifest import ManifestError
from lite_rtse_ext.utils.listing import listed

__all__ = ["with_licenses"]

_MOST_NAMED = 8
_Entry = TypeVar("_Entry")


def with_licenses(
    entries: Iterable[_Entry], patterns: Sequence[str], license: Callable[[_Entry], str], report: Callable[[str], None]
) -> list[_Entry]:
    """Return the entries whose license matches one of the patterns, or all entries if there are no patterns.

    Args:
        entries: what to select from.
        patterns: patterns in the syntax of file name patterns, such as ``CC0*``. Letter case is ignored.
        license: function that returns the license of an entry.
        report: function that is called with one line about each pattern, and one about the licenses left out.

    Raises:
        ManifestError: no license matches. The message names the licenses that there are.
    """
    entries = list(entries)
    if not patterns:
        return entries
    counts = Counter(map(license, entries))
    allowed = {each for each in counts if any(_is_like(each, pattern) for pattern in patterns)}
    others = [f"{each} ({count})" for each, count in counts.most_common() if each not in allowed]
    named = listed(others, _MOST_NAMED)
    if not allowed:
        raise ManifestError(f"only_license: expected patterns of {named or 'some license'}, got {list(patterns)}")
    for pattern in patterns:
        count = sum(counts[each] for each in allowed if _is_like(each, pattern))
        report(f"kept: {count} files with a license like {pattern}")
    if others:
        report(f"left out: files with the licenses {named}")
    return [each for each in entries if license(each) in allowed]


def _is_like(license: str, pattern: str) -> bool:
    return fnmatchcase(license.lower(), pattern.lower())
