"""Sounds out of two kinds of archive that games and desktop programs keep them in."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["ContainerError", "read_cat", "read_gresource"]

_SIGNATURE = b"GVariant"
_COMPRESSED = 1
_NO_PARENT = 0xFFFFFFFF
_MOST_FOLDERS = 64

MOST_BYTES = 2**30
"""That an archive is unpacked to; the largest one that is read here holds a tenth."""


class ContainerError(ValueError):
    """Bytes that are not the archive they should be."""


def read_gresource(content: bytes, most_bytes: int = MOST_BYTES) -> Iterator[tuple[str, bytes]]:
    """Files of a GResource bundle: a GVDB hash table, little endian, of names and contents.

    The root table is a bloom filter, buckets, then items of 24 bytes. An item's name is a suffix to that of its parent,
    an index into the same table. A file (type ``v``) is a GVariant of size, flags and bytes, zlib if the flags say so.

    Args:
        content: the bundle.
        most_bytes: what all its files may hold together; no more is ever unpacked.

    Yields:
        name with its folders, content.

    Raises:
        ContainerError: not such a bundle, a damaged one, or one whose files hold more.
    """
    if content[:8] != _SIGNATURE:
        raise ContainerError("not a GResource bundle of little-endian byte order")
    left, packed_left = most_bytes, len(content)
    try:
        start, end = struct.unpack_from("<II", content, 16)
        bloom_words, buckets = struct.unpack_from("<II", content, start)
        first = start + 8 + 4 * (bloom_words & 0x07FFFFFF) + 4 * buckets  # the upper 5 bits are the filter's shift
        items = [_Item(*_ITEM.unpack_from(content, at)) for at in range(first, end - 23, _ITEM.size)]
        for item in items:
            if item.kind != b"v":
                continue
            name = _name(content, items, item)
            size, flags = struct.unpack_from("<II", content, item.start)
            packed = content[item.start + 8 : item.end]
            left, packed_left = left - size, packed_left - len(packed)
            if left < 0 or packed_left < 0:
                raise ContainerError(f"{name}: the files of the bundle hold more than {most_bytes} bytes, or overlap")
            data = zlib.decompressobj().decompress(packed, size + 1) if flags & _COMPRESSED else packed[:size]
            if len(data) != size:
                raise ContainerError(f"{name}: does not have the {size} bytes that it should have")
            yield name, data
    except (struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
        raise ContainerError(f"a damaged GResource bundle ({error})") from error


_ITEM = struct.Struct("<IIIHcxII")


class _Item(NamedTuple):
    """A row of the table; its key and its value are stretches of the bundle."""

    hash: int
    parent: int
    key_start: int
    key_size: int
    kind: bytes
    start: int
    end: int


def _name(content: bytes, items: list[_Item], item: _Item) -> str:
    parts: list[bytes] = []
    while True:
        parts.append(content[item.key_start : item.key_start + item.key_size])
        if len(parts) > _MOST_FOLDERS:
            raise ContainerError("a damaged GResource bundle (a name has no end)")
        if item.parent == _NO_PARENT:
            return b"".join(reversed(parts)).decode()
        item = items[item.parent]


def read_cat(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Sounds of a Transport Tycoon sample catalogue: a table of offset and length, then a name and a RIFF file each.

    The table has as many rows of two uint32 as fit before the first sound; the top bit of an offset is a flag.

    Yields:
        name, the RIFF file.

    Raises:
        ContainerError: not such a catalogue.
    """
    if len(content) < 8:
        raise ContainerError("too short for a sample catalogue")
    table_bytes = struct.unpack_from("<I", content)[0] & 0x7FFFFFFF
    if table_bytes % 8 or not 8 <= table_bytes <= len(content):
        raise ContainerError("not a sample catalogue")
    left = len(content)
    for row in range(table_bytes // 8):
        offset, _ = struct.unpack_from("<II", content, 8 * row)
        offset &= 0x7FFFFFFF
        name_size = content[offset] if offset < len(content) else 0
        name = content[offset + 1 : offset + 1 + name_size].split(b"\0")[0].decode("latin-1")
        riff = offset + 1 + name_size
        if content[riff : riff + 4] != b"RIFF":
            raise ContainerError(f"sound {row} of the catalogue is no RIFF file")
        size = struct.unpack_from("<I", content, riff + 4)[0] + 8
        if riff + size > len(content):
            raise ContainerError(f"sound {row} of the catalogue is cut short")
        left -= size
        if left < 0:
            raise ContainerError(f"sound {row} of the catalogue overlaps others")
        yield name, content[riff : riff + size]
