"""The C library's reader of weights accepts and refuses what the Python package accepts and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.stream import Network, Streamer

from .library import FORMAT, MIN_GAIN, NETWORK, ROOT, Library, Refused

CONFIGS: dict[str, dict[str, Any]] = {
    "small": {"channels": 8, "order": 3},
    "full": {"channels": 8, "order": 2, "depthwise": False},
    "compressed": {"channels": 16, "order": 3, "compression": 0.3},
    "mask branch": {"channels": 8, "order": 3, "compression": 0.5, "mask_branch": True},
    "mask branch alone": {"channels": 8, "order": 3, "mask_branch": True},
}
SIGNAL = (0.1 * np.random.default_rng(1).standard_normal(2000)).astype(np.float32)


@lru_cache
def checkpoint(name: str, folder: Path) -> bytes:
    """The file that the package writes for a network of random parameters."""
    torch.manual_seed(zlib.crc32(name.encode()))
    network = LiteRTSE(**CONFIGS[name]).eval()
    if network.standardized:
        network.input_mean.uniform_(0, 1)
        network.input_scale.uniform_(0.5, 2)
    network.save_checkpoint(folder / "network.safetensors")
    return (folder / "network.safetensors").read_bytes()


def parts(file: bytes) -> tuple[dict[str, Any], bytes]:
    """The entries of the header, and the data."""
    start = 8 + int.from_bytes(file[:8], "little")
    return json.loads(file[8:start]), file[start:]


def whole(header: object, data: bytes, padding: str = "") -> bytes:
    text = ((header if isinstance(header, str) else json.dumps(header)) + padding).encode()
    return len(text).to_bytes(8, "little") + text + data


def by_python(file: bytes, tmp_path: Path, extra: float = 0.0) -> np.ndarray:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(file)
    streamer = Streamer(Network.from_pretrained(path), extra_reduction_db=extra)
    return np.concatenate([streamer.feed(SIGNAL), streamer.flush()])


def by_c(library: Library, file: bytes, extra: float = 0.0) -> np.ndarray:
    network = library.network(file)
    try:
        return library.enhance(network, [SIGNAL], live=False, high_pass=True, wet=1.0, limit=None, extra=extra)
    finally:
        library.destroy_network(network)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.mark.parametrize("name", CONFIGS)
def test_networks(library: Library, name: str, folder: Path, tmp_path: Path) -> None:
    file = checkpoint(name, folder)
    assert np.array_equal(by_c(library, file), by_python(file, tmp_path))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_types(library: Library, dtype: torch.dtype, tmp_path: Path) -> None:
    """Half precision has subnormal numbers among the parameters."""
    torch.manual_seed(0)
    state = {name: value.clone() for name, value in LiteRTSE(channels=8, order=3).state_dict().items()}
    state["fc1.bias"][:4] = torch.tensor([6e-8, -5e-5, 65504.0, -0.0])
    file = save({name: value.to(dtype) for name, value in state.items()})
    assert np.array_equal(by_c(library, file), by_python(file, tmp_path))


IN_GERMANY = """
import locale, sys
locale.setlocale(locale.LC_NUMERIC, "de_DE.UTF-8")
assert locale.localeconv()["decimal_point"] == ","
from tests.capi.library import Library
Library().network(open(sys.argv[1], "rb").read())
"""


@pytest.mark.skipif(not Path("/usr/share/i18n/locales/de_DE").exists(), reason="needs Debian's package locales")
def test_numbers_do_not_depend_on_the_locale(library: Library, folder: Path, tmp_path: Path) -> None:
    """With a comma as the decimal mark, C's own functions read 0.3 as 0."""
    made = ["localedef", "--no-archive", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")]
    subprocess.run(made, check=True)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(checkpoint("compressed", folder))
    environment = os.environ | {"LOCPATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", IN_GERMANY, str(path)], check=True, env=environment)


Change = Callable[[dict[str, Any], bytes], bytes]


def entry(name: str, **changes: object) -> Change:
    return lambda header, data: whole(header | {name: header[name] | changes}, data)


def metadata(**values: object) -> Change:
    return lambda header, data: whole(header | {"__metadata__": values}, data)


def comment(text: bytes) -> Change:
    """These bytes are an entry of the metadata."""
    marks = "?" * len(text)
    change = metadata(comment=marks)
    return lambda header, data: change(header, data).replace(marks.encode(), text, 1)


def twice(name: str, value: str) -> Change:
    """The entry stands twice in the metadata."""

    def change(header: dict[str, Any], data: bytes) -> bytes:
        written = json.dumps({name: value})[1:-1]
        text = json.dumps(header | {"__metadata__": {name: value}})
        return whole(text.replace(written, f"{written}, {written}"), data)

    return change


def without(name: str) -> Change:
    return lambda header, data: whole({key: value for key, value in header.items() if key != name}, data)


ACCEPTED: dict[str, Change] = {
    "the same": whole,
    "padding": lambda header, data: whole(header, data, "       "),
    "another order": lambda header, data: whole(dict(reversed(header.items())), data),
    "spaces": lambda header, data: whole(json.dumps(header, indent=2), data),
    "escaped names": lambda header, data: whole(json.dumps(header).replace("fc1", "\\u0066c1"), data),
    "no metadata": without("__metadata__"),
    "characters of every length": comment("\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff".encode()),
    "null as metadata": lambda header, data: whole(header | {"__metadata__": None}, data),
    "two minimum gains": metadata(min_gain="[0.0, 0.99]"),
    "the least minimum gain": metadata(min_gain="[4.9e-324, -0.0e-999]"),
    "three minimum gains": metadata(min_gain=" [7e-2,0.2, 0.4]\n"),
    "a pair of surrogates": metadata(comment="\U0001f600", config='{"\U0001f600": [1, -2.5e3, null, {}]}'),
    "an escaped pair of surrogates": metadata(config=r'{"a": "\ud83d\ude00"}'),
    "32 nested values": metadata(config='{"a": ' + "[" * 31 + "1" + "]" * 31 + "}"),
    "other numbers beyond double": metadata(config=f'{{"a": [1e999, 1e-400, {"9" * 5000}]}}'),
}
REFUSED: dict[str, tuple[int, Change]] = {
    "no object": (FORMAT, lambda header, data: whole("[]", data)),
    "half an object": (FORMAT, lambda header, data: whole(json.dumps(header)[:-1], data)),
    "text after the object": (FORMAT, lambda header, data: whole(header, data, "x")),
    "cut data": (FORMAT, lambda header, data: whole(header, data[:-1])),
    "more data": (FORMAT, lambda header, data: whole(header, data + b"\0")),
    "a name twice": (FORMAT, lambda header, data: whole(json.dumps(header)[:-1] + ', "fc1.bias": {}}', data)),
    "offsets that overlap": (FORMAT, entry("fc1.weight", data_offsets=[0, 4 * 257 * 257])),
    "offsets beyond the end": (FORMAT, entry("fc1.bias", data_offsets=[10**9, 10**9 + 1028])),
    "offsets of 2^64": (FORMAT, entry("fc1.bias", data_offsets=[0, 2**64])),
    "negative offsets": (FORMAT, entry("fc1.bias", data_offsets=[-1028, 0])),
    "reversed offsets": (FORMAT, entry("fc1.bias", data_offsets=[1028, 0])),
    "one offset": (FORMAT, entry("fc1.bias", data_offsets=[0])),
    "fractions": (FORMAT, entry("fc1.bias", shape=[257.5])),
    "text as shape": (FORMAT, entry("fc1.bias", shape="257")),
    "a shape whose product overflows": (FORMAT, entry("fc1.bias", shape=[2**62, 2**62])),
    "a shape of other bytes": (FORMAT, entry("fc1.bias", shape=[256])),
    "a gap": (FORMAT, without("fc1.bias")),
    "an entry twice": (FORMAT, twice("config", "{}")),
    "an unknown entry twice": (FORMAT, twice("comment", "")),
    "no UTF-8": (FORMAT, comment(b"\xff")),
    "a byte that continues nothing": (FORMAT, comment(b"\x80")),
    "half a character": (FORMAT, comment(b"\xe2\x82")),
    "a longer form than needed": (FORMAT, comment(b"\xc0\x80")),
    "a surrogate in UTF-8": (FORMAT, comment(b"\xed\xa0\x80")),
    "a character above U+10FFFF": (FORMAT, comment(b"\xf4\x90\x80\x80")),
    "metadata of numbers": (FORMAT, metadata(epoch=3)),
    "nested too deep": (FORMAT, lambda header, data: whole('{"a":' + "[" * 100_000, data)),
    "integers": (NETWORK, entry("fc1.bias", dtype="I32")),
    "another shape": (NETWORK, entry("fc1.bias", shape=[257, 1])),
    "another name": (NETWORK, lambda header, data: whole(json.dumps(header).replace("fc1.bias", "fc1.bia"), data)),
    "another architecture": (NETWORK, metadata(architecture="dpcrn")),
    "no object as config": (NETWORK, metadata(config="[1]")),
    "text as compression": (NETWORK, metadata(config='{"compression": "0.3"}')),
    "compression of zero": (NETWORK, metadata(config='{"compression": 0}')),
    "compression beyond double": (NETWORK, metadata(config='{"compression": 1e999}')),
    "a name twice in the config": (NETWORK, metadata(config='{"mask_branch": false, "mask_branch": true}')),
    "a compression twice in the config": (NETWORK, metadata(config='{"compression": 0.5, "compression": 1}')),
    "NaN in the config": (NETWORK, metadata(config='{"temperature": NaN}')),
    "infinity in the config": (NETWORK, metadata(config='{"temperature": -Infinity}')),
    "33 nested values": (NETWORK, metadata(config='{"a": ' + "[" * 32 + "1" + "]" * 32 + "}")),
    "33 nested lists": (NETWORK, metadata(config='{"a": ' + "[" * 33 + "]" * 33 + "}")),
    "half a pair of surrogates": (NETWORK, metadata(config=r'{"a": ["\ud83d"]}')),
    "the other half": (NETWORK, metadata(config=r'{"a": "\ude00"}')),
    "half a pair as name": (NETWORK, metadata(config=r'{"\ud83d": 1}')),
    "number as mask branch": (NETWORK, metadata(config='{"mask_branch": 1}')),
    "a compression of many digits": (NETWORK, metadata(config=f'{{"compression": 1{"0" * 400}}}')),
    "a compression below double": (NETWORK, metadata(config='{"compression": 1e-400}')),
    "compression without its parameters": (NETWORK, metadata(config='{"compression": 0.3}')),
    "no JSON as minimum gain": (NETWORK, metadata(min_gain="")),
    "one minimum gain": (NETWORK, metadata(min_gain="[0.1]")),
    "a number as minimum gain": (NETWORK, metadata(min_gain="0.1")),
    "four minimum gains": (NETWORK, metadata(min_gain="[0, 0, 0, 0]")),
    "an object as minimum gain": (NETWORK, metadata(min_gain='{"bass": 0.1, "treble": 0.2}')),
    "a minimum gain of one": (NETWORK, metadata(min_gain="[0.1, 1]")),
    "a negative minimum gain": (NETWORK, metadata(min_gain="[0.1, -0.1]")),
    "a boolean as minimum gain": (NETWORK, metadata(min_gain="[0.1, false]")),
    "text as minimum gain": (NETWORK, metadata(min_gain='["0.1", 0.1]')),
    "NaN as minimum gain": (NETWORK, metadata(min_gain="[NaN, 0]")),
    "a minimum gain beyond double": (NETWORK, metadata(min_gain="[0, 1e999]")),
    "a minimum gain below double": (NETWORK, metadata(min_gain="[0, 1e-400]")),
    "a negative minimum gain below double": (NETWORK, metadata(min_gain="[-0.01E-400, 0]")),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(library: Library, case: str, folder: Path, tmp_path: Path) -> None:
    file = checkpoint("small", folder)
    changed = ACCEPTED[case](*parts(file))
    assert np.array_equal(by_c(library, changed), by_c(library, file))
    by_python(changed, tmp_path)


@pytest.mark.parametrize("numbers", [[0.1, 0.3], [0.07, 0.2, 0.4], [0, 0]])
def test_the_minimum_gain_is_that_of_the_file(
    library: Library, numbers: list[float], folder: Path, tmp_path: Path
) -> None:
    file = metadata(min_gain=json.dumps(numbers))(*parts(checkpoint("small", folder)))
    lower = by_c(library, file, 12.0)
    assert np.array_equal(lower, by_python(file, tmp_path, 12.0))
    assert np.allclose(lower, by_c(library, file), atol=1e-6) == (numbers == [0, 0])


def test_an_unknown_minimum_gain_cannot_be_lowered(library: Library, folder: Path) -> None:
    with pytest.raises(Refused) as refused:
        by_c(library, checkpoint("small", folder), 0.1)
    assert refused.value.status == MIN_GAIN


@pytest.mark.parametrize("case", REFUSED)
def test_refused(library: Library, case: str, folder: Path, tmp_path: Path) -> None:
    status, change = REFUSED[case]
    file = change(*parts(checkpoint("small", folder)))
    with pytest.raises(Refused) as refused:
        library.network(file)
    assert refused.value.status == status, refused.value.message
    assert len(refused.value.message) > 10
    with pytest.raises(ValueError):  # noqa: PT011 - the messages are safetensors' own
        by_python(file, tmp_path)
