"""Noisy recordings as voice frameworks transport them: int16 PCM."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from lite_rtse_ext.integrations.pcm import packaged_network, pcm_of, samples_of
from lite_rtse_ext.stream import Streamer, process_batch

CLIPS = Path(__file__).parents[2] / "examples" / "clips" / "test"
RATE = 16_000


@lru_cache(maxsize=32)
def recording(number: int = 0, sample_rate: int = RATE, seconds: float = 2.0) -> bytes:
    """A different part of the noisy test clip for each number."""
    speech, noise = (sf.read(next((CLIPS / kind).glob("*.flac")), dtype="float32")[0] for kind in ("speech", "noise"))
    length = round(seconds * RATE)
    noisy = np.roll(speech, -number * 5000)[:length] + 0.5 * np.roll(noise, number * 7000)[:length]
    return pcm_of(soxr.resample(noisy, RATE, sample_rate).astype(np.float32))


def expected(pcm: bytes, sample_rate: int = RATE, channels: int = 1, **settings: float) -> bytes:
    """What a live streamer for each channel makes of a whole signal."""
    streamers = [
        Streamer(packaged_network(), sample_rate=sample_rate, compensate_delay=False, **settings)
        for _ in range(channels)
    ]
    samples = samples_of(pcm).reshape(-1, channels)
    return pcm_of(np.stack(process_batch(streamers, list(samples.T)), axis=1))


def interleaved(*channels: bytes) -> bytes:
    return np.stack([np.frombuffer(pcm, "<i2") for pcm in channels], axis=1).tobytes()


def rms(pcm: bytes) -> float:
    return float(np.sqrt(np.mean(samples_of(pcm) ** 2)))
