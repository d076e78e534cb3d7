"""Synthetic and resynthesized noise for augmentation: a network memorizes a few minutes of recorded noise."""

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
    """Noise of a random spectrum: steady, or made of many drops and clicks, or of both; its level may come and go.

    The spectrum goes through random levels within ± 25 dB. The drops are 3 to 3000 a second, of very unequal sizes, as
    of rain, gravel or a fire.

    Args:
        length: in samples.
        random: where it is drawn from.
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
    """A signal whose level follows a random contour, with corners 0.05 to 1 s apart, over up to ± 12 dB."""
    length = len(samples)
    corners = np.arange(0, length + SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * 10 ** random.uniform(-1.3, 0))
    levels_db = random.uniform(-1, 1, len(corners)) * random.uniform(0, _CONTOUR_DB)
    return samples * (10 ** (np.interp(np.arange(length), corners, levels_db) / 20)).astype(np.float32)


def hum(length: int, random: np.random.Generator) -> _Samples:
    """What a ground loop adds: a tone of 50 or 60 Hz with up to nine of its multiples, the higher the softer, of power
    1."""
    mains_hz = random.choice(_MAINS_HZ)
    multiples = np.arange(1, int(random.integers(2, 11)))[:, None]
    phases = 2 * np.pi * (multiples * (mains_hz / SAMPLE_RATE_HZ) * np.arange(length) + random.random(multiples.shape))
    levels = np.where(multiples == 1, 1, random.random(multiples.shape) / multiples)
    total = (levels * np.sin(phases)).sum(axis=0)
    scaled: _Samples = (total / max(rms(total), TINY)).astype(np.float32)
    return scaled


def randomize_phases(samples: _Samples, random: np.random.Generator) -> _Samples:
    """Steady noise with the spectrum of a signal: its phases drawn anew, so that nothing is left of when what sounded.

    With magnitudes |X| kept, the power spectrum and so the autocorrelation stay as they were; independent phases make
    of it a sum of sines without relation, that is, noise of that spectrum.
    """
    spectrum = np.fft.rfft(samples)
    phases = random.random(len(spectrum)) * (2 * np.pi)
    return np.fft.irfft(np.abs(spectrum) * np.exp(1j * phases), len(samples)).astype(np.float32)


def granular_texture(sources: Sequence[_Samples], length: int, random: np.random.Generator) -> _Samples:
    """Granular synthesis: short pieces of signals, scattered over time, each from another place and of another level.

    All grains of a texture are of one length, 8 to 400 ms, and overlap tenfold, as in a wash, or ten grains' lengths
    lie between them, as between single events, or something in between; they are 1500 at most.
    They swell and fade, or are struck and decay.

    Args:
        sources: the signals; a grain is of any of them, brought to the same power before.
        length: in samples.
        random: where it is drawn from.
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
