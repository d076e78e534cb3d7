"""Streamers in threads: with the GIL, and without it in a free-threaded Python, for which the module is ready.

These tests need no torch. They also run on an installed wheel, outside the checkout.
"""

from __future__ import annotations

import importlib.machinery
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lite_rtse_ext import _stream
from lite_rtse_ext.stream import Network, Streamer, process_batch

THREADS = 8
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
BINDINGS = Path(__file__).parents[2] / "csrc" / "stream" / "bindings.cpp"


@pytest.fixture(scope="module")
def network() -> Network:
    return Network.from_pretrained()


def signal(seed: int) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(8000)).astype(np.float32)


def in_threads(work: Callable[[int], None]) -> None:
    """Runs ``work(0)`` to ``work(7)`` at the same time. Raises the first exception."""
    errors: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def attempt(number: int) -> None:
        try:
            start.wait(60)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def enhanced(streamer: Streamer, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    blocks = [streamer.feed(samples[at : at + 700]) for at in range(0, len(samples), 700)]
    return np.concatenate([*blocks, streamer.flush()])


def test_eight_streamers_in_threads_give_what_one_after_another_gives(network: Network) -> None:
    expected = [enhanced(Streamer(network), signal(number)) for number in range(THREADS)]
    results: dict[int, NDArray[np.float32]] = {}
    in_threads(lambda number: results.update({number: enhanced(Streamer(network), signal(number))}))
    for number, each in enumerate(expected):
        np.testing.assert_array_equal(results[number], each)


def test_batches_in_threads_give_the_same(network: Network) -> None:
    expected = [enhanced(Streamer(network), signal(number)) for number in range(2)]

    def work(number: int) -> None:
        streamers = [Streamer(network) for _ in expected]
        first = process_batch(streamers, [signal(0), signal(1)])
        for head, streamer, whole in zip(first, streamers, expected, strict=True):
            np.testing.assert_array_equal(np.concatenate([head, streamer.flush()]), whole)

    in_threads(work)


def test_networks_are_made_and_dropped_in_threads() -> None:
    expected = enhanced(Streamer.from_pretrained(), signal(0)[:2000])
    in_threads(
        lambda number: np.testing.assert_array_equal(enhanced(Streamer.from_pretrained(), signal(0)[:2000]), expected)
    )


def test_one_stream_in_threads_is_used_by_one_at_a_time(network: Network) -> None:
    """Each call feeds all of its block or is refused: the stream has then seen exactly what was not refused."""
    stream, block = _stream.Stream(network._network, True, True, rate_hz=16_000, channels=1), signal(0)[:256]
    fed: list[int] = []
    refused: list[str] = []

    def work(number: int) -> None:
        for _ in range(20):
            try:
                fed.append(len(stream.feed(block)))
            except RuntimeError as error:
                refused.append(str(error))
            stream.set_wet(number / THREADS)
            stream.faults()

    in_threads(work)
    assert set(fed) == {len(block)}
    assert set(refused) <= {"the stream is in use by another thread, or listed twice"}
    assert len(fed) + len(refused) == 20 * THREADS
    assert len(fed) >= 20


# --- which builds of Python the module is for -------------------------------------------------------------------------


def test_one_module_serves_every_python_with_a_gil() -> None:
    suffix = ".abi3.so" if os.name == "posix" else ".pyd"
    if FREE_THREADED:
        suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    assert Path(_stream.__file__ or "").name == f"_stream{suffix}"


@pytest.mark.skipif(not FREE_THREADED, reason="this Python has a GIL")
def test_the_module_leaves_the_gil_off() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import sys, lite_rtse_ext.stream; sys.exit(sys._is_gil_enabled())"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def headers() -> Path | None:
    """The headers of a Python that can be built without a GIL, 3.13 or later, if there are any on this machine."""
    here = Path(sysconfig.get_path("include"))
    versions = here.parents[2].glob("*/include/python3.*")  # a folder of several Pythons, as pyenv has it
    found = [path for path in (here, *versions) if (path / "Python.h").exists() and minor(path) >= 13]
    return max(found, key=minor, default=None)


def minor(path: Path) -> int:
    """The second number of a Python's version, from the name of its folder of headers."""
    version = re.fullmatch(r"python3\.(\d+)t?", path.name)
    return int(version[1]) if version else 0


@pytest.mark.skipif(not BINDINGS.exists(), reason="runs in a checkout only")
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_a_build_without_gil_declares_that_it_needs_none() -> None:
    """The compiler reads the module for such a Python: it finds no error, and the entry that Python looks for."""
    python = headers()
    if python is None:
        pytest.skip("needs the headers of Python 3.13 or later")
    command = ["c++", "-std=c++20", "-Wall", "-Wextra", "-Werror", f"-I{python}", f"-I{np.get_include()}"]
    for flag, expected in (("-DPy_GIL_DISABLED=1", True), ("-DPy_LIMITED_API=0x030a0000", False)):
        done = subprocess.run([*command, flag, "-E", str(BINDINGS)], capture_output=True, text=True, check=True)
        slots = re.search(r"PyModuleDef_Slot slots\[\] = \{(.*?)\};", done.stdout, re.DOTALL)
        assert slots
        assert bool(re.search(r"\{4, *\(\(void ?\*\) ?1\)\}", slots[1])) == expected  # Py_mod_gil
    done = subprocess.run(
        [*command, "-DPy_GIL_DISABLED=1", "-fsyntax-only", str(BINDINGS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
