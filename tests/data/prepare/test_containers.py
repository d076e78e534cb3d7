"""Archives, built here byte by byte."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lite_rtse_ext.data.prepare.debian.containers import ContainerError, read_cat, read_gresource


def gresource(files: dict[str, tuple[bytes, bool]]) -> bytes:
    """A bundle with a root item and the files below it; each is compressed or not."""
    items, body = [], b""
    start = 24
    rows = len(files) + 1
    body_start = start + 8 + 4 + 24 * rows  # no bloom filter, one bucket
    names = {"/org/": None, **files}
    for number, (name, entry) in enumerate(names.items()):
        key_at = body_start + len(body)
        body += name.encode()
        value_at = body_start + len(body)
        if entry is not None:
            data, compressed = entry
            packed = zlib.compress(data) if compressed else data + b"\0"
            body += struct.pack("<II", len(data), int(compressed)) + packed
        parent, kind = (0xFFFFFFFF, b"L") if number == 0 else (0, b"v")
        items.append(struct.pack("<IIIHcxII", 0, parent, key_at, len(name), kind, value_at, body_start + len(body)))
    table = struct.pack("<II", 0, 1) + struct.pack("<I", 0) + b"".join(items)
    header = b"GVariant" + struct.pack("<IIII", 0, 0, start, start + len(table))
    return header + table + body


def test_gresource_files_have_names_and_contents() -> None:
    files = {"plain.txt": (b"hello", False), "packed.ogg": (b"x" * 5000, True), "empty": (b"", False)}
    assert dict(read_gresource(gresource(files))) == {f"/org/{name}": data for name, (data, _) in files.items()}


@pytest.mark.parametrize("size", [0, 7, 20, 60, 100])
def test_a_gresource_cut_short_is_refused(size: int) -> None:
    with pytest.raises(ContainerError):
        list(read_gresource(gresource({"packed.ogg": (b"abc" * 500, True)})[:size]))


def test_a_gresource_whose_names_go_in_circles_is_refused() -> None:
    content = bytearray(gresource({"a": (b"hello", False)}))
    struct.pack_into("<I", content, 24 + 8 + 4 + 4, 0)  # the root item becomes its own parent
    with pytest.raises(ContainerError, match="has no end"):
        list(read_gresource(bytes(content)))


def catalogue(sounds: dict[str, bytes]) -> bytes:
    table, body = b"", b""
    start = 8 * len(sounds)
    for name, data in sounds.items():
        riff = b"RIFF" + struct.pack("<I", len(data)) + data
        entry = bytes([len(name) + 1]) + name.encode() + b"\0" + riff
        table += struct.pack("<II", (start + len(body)) | 0x80000000, len(riff))
        body += entry
    return table + body


def test_catalogue_sounds_have_names_and_contents() -> None:
    found = dict(read_cat(catalogue({"horn": b"WAVE1234", "bell": b"WAVE"})))
    assert found == {"horn": b"RIFF\x08\0\0\0WAVE1234", "bell": b"RIFF\x04\0\0\0WAVE"}


@pytest.mark.parametrize("content", [b"", b"12345", b"RIFFxxxxWAVEfmt ", catalogue({"horn": b"WAVE1234"})[:-3]])
def test_other_bytes_are_no_catalogue(content: bytes) -> None:
    with pytest.raises(ContainerError):
        list(read_cat(content))


def test_a_gresource_is_unpacked_no_further_than_it_says() -> None:
    lying = bytearray(gresource({"bomb": (bytes(50_000_000), True)}))
    where = lying.index(b"bomb") + len(b"bomb")
    struct.pack_into("<I", lying, where, 100)
    tracemalloc.start()
    with pytest.raises(ContainerError, match="/org/bomb: does not have the 100 bytes"):
        list(read_gresource(bytes(lying)))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("count", [1, 3])
def test_a_gresource_that_holds_too_much_is_refused_before_it_is_unpacked(count: int) -> None:
    content = gresource({f"{number}": (bytes(1000), True) for number in range(count)})
    assert len(list(read_gresource(content, most_bytes=1000 * count))) == count
    with pytest.raises(ContainerError, match="hold more than"):
        list(read_gresource(content, most_bytes=1000 * count - 1))


def test_archives_whose_parts_overlap_are_refused() -> None:
    content = bytearray(gresource({"a": (b"hello", False), "b": (b"world", False)}))
    first = 24 + 8 + 4  # the table: every file of it the whole of the bundle
    for row in (1, 2):
        struct.pack_into("<II", content, first + 24 * row + 16, first, len(content))
        struct.pack_into("<I", content, first, 0)
    with pytest.raises(ContainerError):
        list(read_gresource(bytes(content)))
    sound = b"RIFF" + struct.pack("<I", 4000) + bytes(4000)
    body = b"\x01\0" + sound
    table = struct.pack("<II", 24, len(sound)) * 3
    with pytest.raises(ContainerError, match="overlaps"):
        list(read_cat(table + body))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_archives_end_in_their_own_error(data: st.DataObject) -> None:
    whole = {
        read_gresource: gresource({"plain.txt": (b"hello", False), "packed.ogg": (b"x" * 500, True)}),
        read_cat: catalogue({"horn": b"WAVE1234", "bell": b"WAVE"}),
    }
    reader = data.draw(st.sampled_from(sorted(whole, key=lambda each: each.__name__)))
    content = bytearray(whole[reader])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ContainerError):
        assert sum(len(part) for _, part in reader(bytes(content))) < 10_000
