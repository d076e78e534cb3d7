"""The C library computes what the Python package computes, to the bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lite_rtse_ext
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.stream import Network, Streamer

from .library import Library, Samples

SIZES = (1, 100, 0, 256, 257, 4000, 3)


def signal() -> list[Samples]:
    """Blocks of noise with a constant offset."""
    random = np.random.default_rng(0)
    return [(0.1 * random.standard_normal(size) + 0.05).astype(np.float32) for size in SIZES]


def test_version(library: Library) -> None:
    version = library.version()
    assert f"{version // 10000}.{version // 100 % 100}.{version % 100}" == lite_rtse_ext.__version__


@pytest.mark.parametrize("precision", ["float32", "int24", "int16", "int8"])
@pytest.mark.parametrize("live", [False, True], ids=["aligned", "live"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"high_pass": False},
        {"wet": 0.7},
        {"wet": 0.0},
        {"attenuation_limit_db": 12.3},
        {"attenuation_limit_db": 0.0},
        {"attenuation_limit_db": math.inf},
        {"wet": 0.9, "attenuation_limit_db": 30.0},
        {"extra_reduction_db": 6.5},
        {"extra_reduction_db": math.inf, "wet": 0.9},
    ],
    ids=str,
)
def test_equal_to_streamer(library: Library, precision: Any, live: bool, settings: dict[str, Any]) -> None:
    streamer = Streamer(Network.from_pretrained(precision=precision), compensate_delay=not live, **settings)
    expected = np.concatenate([*(streamer.feed(block) for block in signal()), streamer.flush()])
    network = library.network(pretrained_path().read_bytes(), precision)
    got = library.enhance(
        network,
        signal(),
        live=live,
        high_pass=settings.get("high_pass", True),
        wet=settings.get("wet", 1.0),
        limit=settings.get("attenuation_limit_db"),
        extra=settings.get("extra_reduction_db", 0.0),
    )
    library.destroy_network(network)
    assert np.array_equal(got, expected)
    assert np.abs(got).max() > 0.01


@pytest.mark.parametrize("live", [False, True], ids=["aligned", "live"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_equal_to_streamer_at_other_rates(library: Library, rate: int, channels: int, live: bool) -> None:
    blocks = signal()
    if channels > 1:
        blocks = [np.stack([block, 0.5 * block[::-1]], axis=1) for block in blocks]
    options: dict[str, Any] = {"channels": channels, "compensate_delay": not live, "extra_reduction_db": 12}
    streamer = Streamer(Network.from_pretrained(), sample_rate=rate, **options)
    expected = np.concatenate([*(streamer.feed(block) for block in blocks), streamer.flush()])
    network = library.network(pretrained_path().read_bytes())
    mixed: dict[str, Any] = {"high_pass": True, "wet": 1.0, "limit": None, "extra": 12.0}
    got = library.enhance(network, blocks, live=live, rate=rate, channels=channels, **mixed)
    library.destroy_network(network)
    assert np.array_equal(got, expected)
    assert np.abs(got).max() > 0.01
