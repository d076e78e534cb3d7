"""Speech of another vocal tract."""

from __future__ import annotations

import numpy as np
import pytest

from lite_rtse_ext.data.mixing import rms
from lite_rtse_ext.data.vocal_tract import change, move_formants

RATE_HZ = 16_000
FORMANTS_HZ = 700.0, 1800.0, 3000.0


def voice(pitch_hz: float) -> np.ndarray:
    """Two seconds of pulses through three resonances."""
    pulses = np.zeros(2 * RATE_HZ, np.float32)
    pulses[:: round(RATE_HZ / pitch_hz)] = 1.0
    frequencies = np.fft.rfftfreq(len(pulses), 1 / RATE_HZ)
    response = sum(1 / (1 + ((frequencies - formant) / 100) ** 2) for formant in FORMANTS_HZ)
    return np.fft.irfft(np.fft.rfft(pulses) * response).astype(np.float32)


def power(samples: np.ndarray) -> np.ndarray:
    """The power in each hertz."""
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)), RATE_HZ * 2)[::2]) ** 2


@pytest.mark.parametrize("factor", [0.85, 1.18])
@pytest.mark.parametrize("pitch_hz", [100, 160])
def test_formants_move_and_the_pitch_stays(pitch_hz: int, factor: float) -> None:
    before = voice(pitch_hz)
    after = move_formants(before, factor)
    assert after.shape == before.shape
    assert after.dtype == np.float32
    for formant in FORMANTS_HZ:
        places = np.arange(round(formant * factor * 0.8), round(formant * factor * 1.2))
        weights = power(after)[places]
        assert (places * weights).sum() / weights.sum() == pytest.approx(formant * factor, rel=0.09)
    harmonics = np.arange(pitch_hz, 4000, pitch_hz)
    between = harmonics - pitch_hz // 2
    assert power(after)[between].sum() < 1e-3 * power(after)[harmonics].sum()


def test_a_factor_near_one_reconstructs_the_signal() -> None:
    before = voice(120)
    assert rms(move_formants(before, 1 + 1e-7) - before) < 1e-5 * rms(before)
    assert move_formants(before, 1.0) is before


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 511, 513, 5000])
def test_any_length_is_kept(length: int) -> None:
    samples = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    changed = move_formants(samples, 1.2)
    assert changed.shape == (length,)
    assert np.isfinite(changed).all()


def test_silence_stays_silent() -> None:
    assert not move_formants(np.zeros(1000, np.float32), 0.8).any()


def test_the_factor_is_drawn_from_its_range() -> None:
    samples, random = voice(120), np.random.default_rng(3)
    expected = move_formants(samples, float(np.random.default_rng(3).uniform(0.9, 1.2)))
    np.testing.assert_array_equal(change(samples, (0.9, 1.2), random), expected)
    before = random.bit_generator.state
    assert change(samples, (1.0, 1.0), random) is samples
    assert random.bit_generator.state == before
