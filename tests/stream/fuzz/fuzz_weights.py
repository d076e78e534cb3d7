"""Fuzzing of the reader of weight files with atheris: whatever is in a file, it is read or refused with a ValueError
that names it, at once, whatever sizes it claims.

An input is the number of bytes that follow the header (4 bytes), the first that all of them equal (1 byte), and the
file's beginning: 8 bytes of header length, and the header. So the inputs stay small where files are megabytes.
"""

from __future__ import annotations

import json
import random
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

try:
    import atheris

    with atheris.instrument_imports(include=["lite_rtse_ext.stream", "lite_rtse_ext.models.pretrained"]):
        from lite_rtse_ext.stream import Network, Streamer
except ModuleNotFoundError:  # the inputs that are kept run without it
    from lite_rtse_ext.stream import Network, Streamer

from tests.stream.fuzz.script import Script, fuzz

MOST_DATA_BYTES = 16 << 20
_FOLDER = tempfile.TemporaryDirectory()  # gone when the process ends
_PATH = Path(_FOLDER.name) / "fuzzed.safetensors"


def check(data: bytes) -> None:
    """Reads one file."""
    script = Script(data)
    size, value = script.number(4) % MOST_DATA_BYTES, script.take(1)
    _PATH.write_bytes(data[5:] + value * size)
    refusal = str(_PATH)
    try:
        network = Network.from_pretrained(_PATH)
        streamer = Streamer(network, on_fault="mute", extra_reduction_db=6 if network.min_gain else 0)
        enhanced = np.concatenate([streamer.feed(np.linspace(-1, 1, 700)), streamer.flush()])
        assert len(enhanced) == 700
        assert np.isfinite(enhanced).all()
    except ValueError as error:
        refusal = str(error)
    assert str(_PATH) in refusal


_VALUES: list[Any] = [0, 1, 3, 8, 257, 771, 1028, -1, 2**31, 2**63 - 1, 2**64, 1e300, None, "", "F32", [], {}, True]
_DTYPES = ["F32", "F16", "BF16", "F64", "I8", "BOOL", "F8_E4M3", "F4", "C64", "U64", "X"]


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Half of the time a change of what the header says, with the length made right; else libFuzzer's own."""
    dice = random.Random(seed)
    try:
        header = json.loads(data[13:])
        name = dice.choice(sorted(header))
        entry = header[name]
        if dice.random() < 0.5 or not isinstance(entry, dict):
            raise ValueError
    except (ValueError, IndexError, TypeError, RecursionError):
        return bytes(atheris.Mutate(data, most))
    kind = dice.randrange(7)
    if kind == 0:
        header[dice.choice([name + "x", "module." + name, "", "é\0", "__metadata__"])] = header.pop(name)
    elif kind == 1:
        entry["dtype"] = dice.choice(_DTYPES)
    elif kind == 2:
        entry["shape"] = [dice.choice(_VALUES[:11]) for _ in range(dice.randrange(6))]
    elif kind == 3:
        entry["data_offsets"] = [dice.choice(_VALUES[:11]) for _ in range(dice.randrange(4))]
    elif kind == 4:
        entry[dice.choice(["dtype", "shape", "data_offsets", "more"])] = dice.choice(_VALUES)
    elif kind == 5:
        header["__metadata__"] = {"min_gain": json.dumps(dice.choice([[0.1, 0.2], [0, 0, 0.9], [1, 0], *_VALUES]))}
    else:
        del header[name]
    changed = json.dumps(header).encode()
    return (data[:5] + struct.pack("<Q", len(changed)) + changed)[:most]


if __name__ == "__main__":
    fuzz(check, mutate)
