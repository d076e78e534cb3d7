"""The file of 16-bit integers gives the numbers that the engine makes of the file of floats."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from benchmarks.chromium import PACKAGE, ROOT
from lite_rtse_ext.models.metadata import read_metadata
from tests.capi.library import NETWORK, Library, Refused

from .conftest import Samples, difference

FLOATS = ROOT / "lite_rtse_ext" / "models" / "weights" / "lite-rtse.safetensors"
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def library() -> Library:
    subprocess.run(["make", "--silent", "-C", str(ROOT / "csrc" / "capi")], check=True)
    return Library()


def convert(path: Path, source: Path = FLOATS) -> None:
    subprocess.run([sys.executable, PACKAGE / "int16_weights.py", source, path], check=True)


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Arrays, dict[str, str]]:
    """The arrays and the metadata of the file of integers."""
    path = tmp_path_factory.mktemp("weights") / "integers"
    convert(path)
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def test_a_web_server_may_read_the_file(tmp_path: Path) -> None:
    """It has the mode of other new files."""
    before = os.umask(0o022)
    try:
        convert(tmp_path / "integers")
    finally:
        os.umask(before)
    assert (tmp_path / "integers").stat().st_mode & 0o777 == 0o644


def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    """safetensors itself writes metadata in a random order."""
    source = tmp_path / "floats"
    source.write_bytes(save({"fc1.weight": np.ones((2, 2), np.float32)}, {letter: letter for letter in "ecadb"}))
    for name in ("one", "other"):
        convert(tmp_path / name, source)
    assert list(read_metadata(tmp_path / "one")) == list("abcde")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_file_without_metadata_stays_one(tmp_path: Path) -> None:
    (tmp_path / "floats").write_bytes(save({"fc1.weight": np.ones((2, 2), np.float32)}))
    convert(tmp_path / "integers", tmp_path / "floats")
    assert read_metadata(tmp_path / "integers") == {}


def enhance(library: Library, file: bytes, samples: Samples) -> Samples:
    network = library.network(file, "int16")
    output = library.enhance(network, [samples], live=True, high_pass=True, wet=1.0, limit=None)
    library.destroy_network(network)
    return output


def test_output_is_that_of_the_floats(library: Library, stored: tuple[Arrays, dict[str, str]], noisy: Samples) -> None:
    file = save(*stored)
    assert stored[1]["min_gain"] == read_metadata(FLOATS)["min_gain"]
    assert len(file) < 0.53 * FLOATS.stat().st_size
    # Both have the same integers. A row's scale may differ by one rounding, 6e-8; the integers themselves cost 4e-5.
    assert difference(enhance(library, file, noisy), enhance(library, FLOATS.read_bytes(), noisy)) <= 2e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc1.weight.scale": None}, "fc1.weight is I16, but fc1.weight.scale is missing"),
        ({"fc1.weight.scale": np.ones(256, np.float32)}, "fc1.weight.scale must have one number for each row of fc1."),
        ({"fc1.weight.scale": np.full(257, np.inf, np.float32)}, "fc1.weight holds a value that is not finite"),
        (
            {"fc1.weight.scale": np.ones(257, np.int16)},
            "fc1.weight.scale is I16, but fc1.weight.scale.scale is missing",
        ),
        ({"fc1.bias.scale": np.ones(257, np.float32)}, "unknown parameter fc1.bias.scale"),
    ],
)
def test_refused(
    library: Library, stored: tuple[Arrays, dict[str, str]], change: dict[str, np.ndarray | None], message: str
) -> None:
    arrays = {name: value for name, value in (stored[0] | change).items() if value is not None}
    with pytest.raises(Refused) as refused:
        library.network(save(arrays, stored[1]))
    assert refused.value.status == NETWORK
    assert refused.value.message.startswith(message)
