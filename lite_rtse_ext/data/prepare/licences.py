"""Selects recordings by their licence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from lite_rtse_ext.data.manifest import ManifestError

__all__ = ["with_licences"]

_MOST_NAMED = 8
_Entry = TypeVar("_Entry")


def with_licences(
    entries: Iterable[_Entry], patterns: Sequence[str], licence: Callable[[_Entry], str], report: Callable[[str], None]
) -> list[_Entry]:
    """Return the entries whose licence matches one of the patterns, or all entries if there are no patterns.

    Args:
        entries: what to select from.
        patterns: patterns in the syntax of file name patterns, such as ``CC0*``. Upper and lower case differ.
        licence: function that returns the licence of an entry.
        report: function that is called with one line about each pattern, and one about the licences left out.

    Raises:
        ManifestError: no licence matches. The message names the licences that there are.
    """
    entries = list(entries)
    if not patterns:
        return entries
    counts = Counter(map(licence, entries))
    allowed = {each for each in counts if any(fnmatchcase(each, pattern) for pattern in patterns)}
    others = [f"{each} ({count})" for each, count in counts.most_common() if each not in allowed]
    named = ", ".join(others[:_MOST_NAMED])
    more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    if not allowed:
        raise ManifestError(f"only_license: expected patterns of {named or 'some licence'}{more}, got {list(patterns)}")
    for pattern in patterns:
        count = sum(counts[each] for each in allowed if fnmatchcase(each, pattern))
        report(f"kept: {count} files with a licence like {pattern}")
    if others:
        report(f"left out: files with the licences {named}{more}")
    return [each for each in entries if licence(each) in allowed]
