"""Synthetic and resynthesized noise for augmentation, since a network memorizes a few minutes of recorded noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.data.mixing import TINY, equalize, rms
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["granular_texture", "hum", "modulate_amplitude", "randomize_phases", "synthetic_noise"]

_Samples = NDArray[np.float32]
_SPECTRUM_DB, _CONTOUR_DB, _GRAINS_DB = 25.0, 12.0, 10.0
_MOST_GRAINS = 1500
_MAINS_HZ = 50.0, 60.0


def synthetic_noise(length: int, random: np.random.Generator) -> _Samples:
    """Synthesize noise with a random spectrum: stationary noise, many short clicks, or the sum of both.

    The spectrum of each part passes through random levels within ± 25 dB; see
    :func:`~lite_rtse_ext.data.mixing.equalize`. The clicks occur 3 to 3000 times per second. Their amplitudes are very
    unequal, as in rain, gravel or a fire. Half of the noises also vary in level; see :func:`modulate_amplitude`.

    Args:
        length: number of samples at 16 kHz.
        random: the generator of all draws.

    Returns:
        The noise, float32, ``(length,)``.
    """
    what = random.random()
    parts = []
    if what < 0.7:
        parts.append(random.standard_normal(length, np.float32))
    if what > 0.5:
        drops_hz = 10 ** random.uniform(0.5, 3.5)
        falls = random.random(length, np.float32) < drops_hz / SAMPLE_RATE_HZ
        falls[random.integers(length)] = True
        parts.append(falls * random.standard_normal(length, np.float32) ** 3)
    total = np.zeros(length, np.float32)
    for part in parts:
        part = equalize(part, _SPECTRUM_DB, random)
        total += part * np.float32(10 ** random.uniform(-0.5, 0) / max(rms(part), TINY))
    return modulate_amplitude(total, random) if random.random() < 0.5 else total


def modulate_amplitude(samples: _Samples, random: np.random.Generator) -> _Samples:
    """Multiply a signal by a random contour of its level, within at most ± 12 dB.

    The contour is linear in dB between corners. The distance between corners is drawn from 0.05 to 1 s.
    """
    length = len(samples)
    corners = np.arange(0, length + SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * 10 ** random.uniform(-1.3, 0))
    levels_db = random.uniform(-1, 1, len(corners)) * random.uniform(0, _CONTOUR_DB)
    return samples * (10 ** (np.interp(np.arange(length), corners, levels_db) / 20)).astype(np.float32)


def hum(length: int, random: np.random.Generator) -> _Samples:
    """Synthesize the hum of a ground loop: multiples 1 to n of 50 or 60 Hz, where n is at most 9.

    The levels of higher multiples are random. The level of multiple k is at most 1/k of that of the fundamental.

    Args:
        length: number of samples at 16 kHz.
        random: the generator of all draws.

    Returns:
        The hum with mean power 1, float32, ``(length,)``.
    """
    mains_hz = random.choice(_MAINS_HZ)
    multiples = np.arange(1, int(random.integers(2, 11)))[:, None]
    phases = 2 * np.pi * (multiples * (mains_hz / SAMPLE_RATE_HZ) * np.arange(length) + random.random(multiples.shape))
    levels = np.where(multiples == 1, 1, random.random(multiples.shape) / multiples)
    total = (levels * np.sin(phases)).sum(axis=0)
    scaled: _Samples = (total / max(rms(total), TINY)).astype(np.float32)
    return scaled


def randomize_phases(samples: _Samples, random: np.random.Generator) -> _Samples:
    """Turn a signal into stationary noise with the same spectrum, by random phases.

    The magnitudes |X| are kept, so the power spectrum and the autocorrelation do not change. With independent phases
    the result is a sum of unrelated sines, which is noise with that spectrum. The timing of events is lost.
    """
    spectrum = np.fft.rfft(samples)
    phases = random.random(len(spectrum)) * (2 * np.pi)
    return np.fft.irfft(np.abs(spectrum) * np.exp(1j * phases), len(samples)).astype(np.float32)


def granular_texture(sources: Sequence[_Samples], length: int, random: np.random.Generator) -> _Samples:
    """Synthesize noise from grains: short pieces of signals at random times, from random places, with random levels.

    All grains of one texture have the same length, between 8 and 400 ms. Their density is random. At one extreme ten
    grains overlap, which gives a continuous sound. At the other extreme a grain starts every ten grain lengths on
    average, which gives single events. A texture has at most 1500 grains. Either all grains fade in and out, or all
    begin suddenly and decay.

    Args:
        sources: the signals, each ``(samples,)``. All are scaled to the same power, and a grain comes from any of them.
        length: number of samples at 16 kHz.
        random: the generator of all draws.

    Returns:
        The noise, float32, ``(length,)``.
    """
    size = int(SAMPLE_RATE_HZ * 10 ** random.uniform(-2.1, -0.4))
    count = int(np.clip(10 ** random.uniform(-1, 1) * length / size, 1, _MOST_GRAINS))
    time = np.arange(size, dtype=np.float32) / np.float32(size)
    swell, struck = np.sin(np.pi * time) ** 2, np.exp(-5 * time) * (1 - time)
    shape = swell if random.random() < 0.5 else struck
    levels = 10 ** (random.standard_normal(count) * random.uniform(0, _GRAINS_DB) / 20)
    alike = [np.resize(source, max(size, len(source))) / np.float32(max(rms(source), TINY)) for source in sources]
    total = np.zeros(length + size, np.float32)
    for level, at in zip(levels.astype(np.float32), random.integers(length, size=count), strict=True):
        source = alike[random.integers(len(alike))]
        start = int(random.integers(len(source) - size + 1))
        total[at : at + size] += source[start : start + size] * (shape * level)
    return total[size // 2 : size // 2 + length]
