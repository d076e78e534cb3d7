"""What a safetensors file says of its network: architecture and configuration. Needs no torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

__all__ = ["other_architecture", "read_metadata"]

_MOST_HEADER_BYTES = 100_000_000  # the most that safetensors reads


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a safetensors file; none of any other file, or of a damaged one.

    Raises:
        OSError: no such file, or it can't be read.
    """
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= _MOST_HEADER_BYTES else b""
    try:
        entries = json.loads(header)
        return dict(entries.get("__metadata__") or {}) if isinstance(entries, dict) else {}
    except (RecursionError, TypeError, ValueError):
        return {}


def other_architecture(metadata: dict[str, str], expected: str) -> str | None:
    """What is wrong with a file of another network. None: it is of this one, or doesn't say."""
    found = metadata.get("architecture", expected)
    return None if found == expected else f"expected a checkpoint of {expected}, got one of {found}"
