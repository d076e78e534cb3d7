"""Fuzzing of ``Streamer.feed`` with atheris: blocks of any length, type, layout and values, one after another.

Whatever comes, nothing is raised but what is documented, and only where it must be; what is refused changes nothing;
what comes out is finite and, to the bit, what one block of all that was taken gives.

An input is a byte of settings, then of each block a byte of type and layout, 2 bytes of length, and 16 bytes that its
samples repeat: any bit pattern.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import atheris

    with atheris.instrument_imports(include=["lite_rtse_ext.stream"]):
        from lite_rtse_ext.stream import Network, Streamer
except ModuleNotFoundError:  # the inputs that are kept run without it
    from lite_rtse_ext.stream import Network, Streamer

from tests.stream.fuzz.script import Script, fuzz

_TYPES = ["<f4", "<f8", "<f2", ">f4", "<i2", "<c8", "?", "S4"]
_MOST_SAMPLES = 2000


@lru_cache
def network() -> Network:
    """A small one of random weights, with the names and shapes of a file that is read."""
    header = json.loads((Path(__file__).parent / "corpus_weights" / "network").read_bytes()[13:])
    random = np.random.default_rng(0)
    weights = {name: random.uniform(-0.0625, 0.0625, entry["shape"]) for name, entry in header.items()}
    return Network(weights, min_gain=(0.1, 0.3))


def block_of(script: Script) -> NDArray[Any]:
    """The next block, right or wrong."""
    kind, length = script.number(), script.number(2) % _MOST_SAMPLES
    block = np.resize(np.frombuffer(script.take(16), _TYPES[kind % 8]), length)
    layout = kind // 8 % 8
    if layout == 1:
        return np.repeat(block, 2)[::2]
    if layout == 2:
        return block[::-1]
    if layout == 3:
        return block[None]
    if layout == 4:
        block.flags.writeable = False
    return block


def acceptable(block: NDArray[Any], strict: bool) -> NDArray[np.float32] | type[Exception]:
    """The samples that a streamer hears, or what it must raise."""
    if block.dtype.kind != "f":
        return TypeError
    if block.ndim != 1:
        return ValueError
    with np.errstate(over="ignore"):
        samples = block.astype(np.float32)
    finite = np.isfinite(samples)
    return ValueError if strict and not finite.all() else np.where(finite, samples, np.float32(0))


def check(data: bytes) -> None:
    """Feeds one stream."""
    script = Script(data)
    settings = script.number()
    live, strict = bool(settings & 1), bool(settings & 2)
    options: dict[str, Any] = {"compensate_delay": not live, "extra_reduction_db": 6 * (settings >> 2 & 3)}
    streamer = Streamer(network(), on_fault="raise" if strict else "mute", **options)
    taken: list[NDArray[np.float32]] = []
    given: list[NDArray[np.float32]] = []
    while script:
        block = block_of(script)
        wanted, before, raised = acceptable(block, strict), streamer.state(), None
        try:
            given.append(streamer.feed(block))
        except FloatingPointError:
            assert strict
            return  # it overflowed, and the output is lost
        except (TypeError, ValueError) as error:
            raised = type(error)
        assert raised is (wanted if isinstance(wanted, type) else None)
        if isinstance(wanted, type):
            np.testing.assert_array_equal(streamer.state(), before)
            continue
        taken.append(wanted)
        assert given[-1].dtype == np.float32
        assert np.isfinite(given[-1]).all()
        assert not live or len(given[-1]) == len(wanted)
    try:
        given.append(streamer.flush())
    except FloatingPointError:
        assert strict
        return
    whole = Streamer(network(), on_fault="mute", **options)
    expected = [whole.feed(np.concatenate([*taken, np.empty(0, np.float32)])), whole.flush()]
    np.testing.assert_array_equal(np.concatenate(given), np.concatenate(expected))


if __name__ == "__main__":
    fuzz(check)
