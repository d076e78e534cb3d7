"""Reads sounds from two archive formats of games and desktop programs."""

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
"""Largest size in bytes of an unpacked archive. The largest archive that is read here has a tenth of it."""


class ContainerError(ValueError):
    """The bytes are not an archive of the expected format, or are damaged."""


def read_gresource(content: bytes, most_bytes: int = MOST_BYTES) -> Iterator[tuple[str, bytes]]:
    """Read the files of a GResource bundle, which is a little-endian GVDB hash table of names and contents.

    The root table has a bloom filter, buckets, and items of 24 bytes. The name of an item is appended to the name of
    its parent. The parent is an index into the same table. A file (type ``v``) is a GVariant with a size, flags and
    bytes. The flags state whether the bytes are compressed with zlib.

    Args:
        content: the bundle.
        most_bytes: largest total size of its files in bytes. Never more than this is unpacked.

    Yields:
        The name of a file with its folders, and its content.

    Raises:
        ContainerError: the bytes are not such a bundle, are damaged, or hold more than ``most_bytes``.
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
    """A row of the table. Its key and its value are ranges of bytes in the bundle."""

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
    """Read the sounds of a Transport Tycoon sample catalogue.

    The catalogue begins with a table of offsets and lengths, two uint32 for each sound. The table ends where the first
    sound begins. The top bit of an offset is a flag. Each sound is a name and a RIFF file.

    Yields:
        The name of a sound, and its RIFF file.

    Raises:
        ContainerError: the bytes are not such a catalogue, or are damaged.
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
