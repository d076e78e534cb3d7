"""Safetensors files: how one is told from others, and the metadata in it. Needs no torch."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

__all__ = [
    "HEAD_BYTES",
    "is_safetensors",
    "other_architecture",
    "parse_json",
    "read_config",
    "read_metadata",
    "with_sorted_metadata",
]

HEAD_BYTES = 9
"""How many bytes of a file :func:`is_safetensors` reads."""

_MOST_HEADER_BYTES = 100_000_000  # the most that safetensors reads
_MOST_DEPTH = 32  # of nested values, as in csrc/capi/json.cpp
_MOST_DIGITS = 400  # of an integer; a float can hold fewer


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a safetensors file.

    Its first 8 bytes hold the length of the header. The header is a JSON object.
    """
    return head[8:HEAD_BYTES] == b"{"


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the metadata of a safetensors file.

    Returns:
        The metadata. It is empty for a damaged file and for a file of another format.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: the header has a name twice. Programs differ in which of the two counts.
    """
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= _MOST_HEADER_BYTES else b""
    try:
        entries = json.loads(header, object_pairs_hook=_named_once)
        return dict(entries.get("__metadata__") or {}) if isinstance(entries, dict) else {}
    except _NamedTwice:
        raise
    except (RecursionError, TypeError, ValueError):
        return {}


def with_sorted_metadata(data: bytes) -> bytes:
    """Sort the metadata of a safetensors file by name.

    The safetensors library writes metadata in a random order. With sorted metadata, equal networks give equal files.

    Args:
        data: the content of a file with metadata.

    Returns:
        The content of the sorted file.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    entries["__metadata__"] = dict(sorted(entries["__metadata__"].items()))
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)  # the tensors begin at a multiple of 8
    return len(header).to_bytes(8, "little") + header + data[start:]


def parse_json(text: str) -> Any:
    """Parse an entry of the metadata, as the C library does.

    A number that a float cannot hold becomes NaN or infinite, which JSON itself does not have.

    Raises:
        RecursionError, ValueError: the text has too many nested values.
        ValueError: the text is not JSON, an object has a name twice, or a text has half of a surrogate pair.
    """
    value = json.loads(
        text, parse_int=_whole, parse_float=_held, parse_constant=_refused, object_pairs_hook=_named_once
    )
    _check(value)
    return value


def _check(value: Any, depth: int = 0) -> None:
    if depth > _MOST_DEPTH:
        raise ValueError(f"expected at most {_MOST_DEPTH} nested values")
    if isinstance(value, str):
        value.encode()  # raises UnicodeEncodeError, a ValueError, for half of a surrogate pair
    elif isinstance(value, dict):
        for name, inner in value.items():
            name.encode()
            _check(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth + 1)


def _whole(text: str) -> float:
    return int(text) if len(text) <= _MOST_DIGITS else float(text)


def _held(text: str) -> float:
    number = float(text)
    lost = number == 0 and set(text.lower().partition("e")[0]) & set("123456789")
    return math.nan if lost else number


def _refused(name: str) -> None:
    raise ValueError(f"expected JSON, got {name}, which JSON does not have")


class _NamedTwice(ValueError):
    pass


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NamedTwice("metadata: expected each name once, got one twice")
    return found


def read_config(metadata: dict[str, str]) -> dict[str, Any] | None:
    """The configuration that metadata state. None if they state none.

    Raises:
        ValueError: the configuration is not a JSON object, or as of :func:`parse_json`.
    """
    if "config" not in metadata:
        return None
    try:
        config = parse_json(metadata["config"])
    except (RecursionError, ValueError):
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"config: expected a JSON object, got {metadata['config'][:40]!r}")
    return config


def other_architecture(metadata: dict[str, str], expected: str) -> str | None:
    """The problem with a file of another network. None if the file is of this network or does not name one."""
    found = metadata.get("architecture", expected)
    return None if found == expected else f"expected a checkpoint of {expected}, got one of {found}"
