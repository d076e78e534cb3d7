"""Sounds out of two kinds of archive that games and desktop programs keep them in."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

__all__ = ["ContainerError", "read_cat", "read_gresource"]

_SIGNATURE = b"GVariant"
_COMPRESSED = 1
_NO_PARENT = 0xFFFFFFFF


class ContainerError(ValueError):
    """Bytes that are not the archive they should be."""


def read_gresource(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Files of a GResource bundle: a GVDB hash table, little endian, of names and contents.

    The root table is a bloom filter, buckets, then items of 24 bytes. An item's name is a suffix to that of its parent,
    an index into the same table. A file (type ``v``) is a GVariant of size, flags and bytes, zlib if the flags say so.

    Yields:
        name with its folders, content.

    Raises:
        ContainerError: not such a bundle, or a damaged one.
    """
    if content[:8] != _SIGNATURE:
        raise ContainerError("not a GResource bundle of little-endian byte order")
    try:
        start, end = struct.unpack_from("<II", content, 16)
        bloom_words, buckets = struct.unpack_from("<II", content, start)
        first = start + 8 + 4 * (bloom_words & 0x07FFFFFF) + 4 * buckets  # the upper 5 bits are the filter's shift
        items = [_item(content, at) for at in range(first, end - 23, 24)]
        for index, (_, _, kind, value_start, value_end) in enumerate(items):
            if kind == b"v":
                size, flags = struct.unpack_from("<II", content, value_start)
                packed = content[value_start + 8 : value_end]
                data = zlib.decompress(packed) if flags & _COMPRESSED else packed[:size]
                if len(data) != size:
                    raise ContainerError(f"{_name(items, index)}: has {len(data)} of {size} bytes")
                yield _name(items, index), data
    except (struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
        raise ContainerError(f"a damaged GResource bundle ({error})") from error


_Item = tuple[int, str, bytes, int, int]


def _item(content: bytes, at: int) -> _Item:
    _, parent, key_start, key_size, kind, value_start, value_end = struct.unpack_from("<IIIHcxII", content, at)
    key = content[key_start : key_start + key_size].decode()
    return parent, key, kind, value_start, value_end


def _name(items: list[_Item], index: int) -> str:
    parts = []
    while index != _NO_PARENT:
        index, key = items[index][:2]
        parts.append(key)
        if len(parts) > len(items):
            raise ContainerError("a damaged GResource bundle (a name has no end)")
    return "".join(reversed(parts))


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
        yield name, content[riff : riff + size]
