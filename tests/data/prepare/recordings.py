"""Recordings to prepare, made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

RATE_HZ = 16_000


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """White noise."""
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)


def voice(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise that comes for 0.4 s and goes for 0.2 s, as words do."""
    samples = noise(seconds, seed)
    return samples * (np.arange(len(samples)) % 9600 < 6400).astype(np.float32)


def put(path: Path, samples: NDArray[np.floating], **options: object) -> Path:
    """Write a recording, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, int(options.pop("rate", RATE_HZ)), **options)  # type: ignore[call-overload]
    return path
