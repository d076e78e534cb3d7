"""What the tests of the streaming engine share: networks, signals, and ways to feed one to the other."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.signal import HOP_LENGTH
from lite_rtse_ext.stream import Network, Streamer

Samples = NDArray[np.float32]

CONFIGS: dict[str, dict[str, Any]] = {
    "network": {},
    "full": {"depthwise": False},
    "small": {"channels": 8, "order": 3},
    "idle lanes": {"channels": 20, "order": 2, "depthwise": False},
    "deep": {"channels": 32, "order": 6},
    "compressed": {"channels": 16, "order": 3, "compression": 0.3},
    "mask branch": {"channels": 8, "order": 3, "compression": 0.5, "mask_branch": True},
    "mask branch alone": {"channels": 8, "order": 3, "mask_branch": True},
}
TOLERANCE = 1e-5
MIN_GAIN = (0.07, 0.2, 0.4)
"""What the random networks are said to have."""


@lru_cache
def model(name: str) -> LiteRTSE:
    """The network of that configuration, with the same random parameters on every run."""
    torch.manual_seed(zlib.crc32(name.encode()))
    network = LiteRTSE(**CONFIGS[name]).eval()
    network.min_gain = MIN_GAIN
    if network.standardized:
        network.input_mean.uniform_(0, 1)
        network.input_scale.uniform_(0.5, 2)
    return network


@lru_cache
def network(name: str, precision: Any = "float32") -> Network:
    """The same, ready to stream."""
    return Network.from_model(model(name), precision)


@pytest.fixture
def small() -> Network:
    return network("small")


def noise(samples: int, seed: int = 0, level: float = 0.1) -> Samples:
    """White noise, float32."""
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def cut(signal: Samples, sizes: Iterable[int]) -> list[Samples]:
    """The signal in blocks of these sizes, the last of what is left."""
    blocks = []
    for size in sizes:
        blocks.append(signal[:size])
        signal = signal[size:]
    return [*blocks, signal]


def run(streamer: Streamer, blocks: Iterable[Samples]) -> Samples:
    """Feed all blocks and flush."""
    return np.concatenate([*(streamer.feed(block) for block in blocks), streamer.flush()])


def hops(signal: Samples) -> list[Samples]:
    """The signal a frame at a time."""
    return cut(signal, [HOP_LENGTH] * (len(signal) // HOP_LENGTH))


def offline(name: str, signal: Samples, high_pass: bool = True) -> Samples:
    """What the model makes of the whole signal."""
    enhanced: Samples = model(name).enhance(torch.from_numpy(signal), high_pass=high_pass).numpy()
    return enhanced


def relative(actual: Samples, expected: Samples) -> float:
    """Relative L2 difference; of an expected silence, the L2 norm itself."""
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    wide = expected.astype(np.float64)
    return float(np.linalg.norm(actual - wide) / (np.linalg.norm(wide) or 1.0))
