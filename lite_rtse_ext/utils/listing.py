"""Lists in messages."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["listed"]


def listed(names: Iterable[object], most: int = 5) -> str:
    """Return names as text, such as "a, b and 3 more": the first ``most`` of them, and the number of the others."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return f"{', '.join(texts[:most])}{more}"
