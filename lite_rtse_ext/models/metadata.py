"""Reads a network's architecture and configuration from the metadata of a safetensors file. Needs no torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

__all__ = ["other_architecture", "read_metadata"]

_MOST_HEADER_BYTES = 100_000_000  # the most that safetensors reads


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the metadata of a safetensors file.

    Returns:
        The metadata. It is empty for a damaged file and for a file of another format.

    Raises:
        OSError: the file does not exist or cannot be read.
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
    """The problem with a file of another network. None if the file is of this network or does not name one."""
    found = metadata.get("architecture", expected)
    return None if found == expected else f"expected a checkpoint of {expected}, got one of {found}"
