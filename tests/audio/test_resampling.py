"""Sample rates: exact lengths, no delay, cuts that leave no trace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lite_rtse_ext.audio.resampling import length_at, resample, resample_blocks

RATES = [8_000, 11_025, 22_050, 44_100, 48_000, 96_000]


def tone(rate: int, seconds: float, hertz: float = 440.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


@given(frames=st.integers(1, 5000), rate=st.sampled_from([*RATES, 16_000, 22_255]))
def test_there_and_back_has_the_length(frames: int, rate: int) -> None:
    samples = np.ones((frames, 2), dtype=np.float32)
    at_16k = resample(samples, rate, 16_000)
    assert len(at_16k) == length_at(frames, rate, 16_000) == -(-frames * 16_000 // rate)
    assert resample(at_16k, 16_000, rate, frames).shape == samples.shape


@pytest.mark.parametrize("rate", RATES)
def test_there_and_back_is_the_tone_without_delay(rate: int) -> None:
    samples = tone(rate, 0.5)
    back = resample(resample(samples, rate, 16_000), 16_000, rate, len(samples))
    middle = slice(rate // 20, -rate // 20)  # the ends ring, as the tone begins and ends abruptly
    assert np.abs(back - samples)[middle].max() < 2e-3


def test_same_rate_changes_nothing() -> None:
    samples = tone(16_000, 0.1)
    np.testing.assert_array_equal(resample(samples, 16_000, 16_000), samples)


@given(cuts=st.lists(st.integers(1, 4000), max_size=5))
def test_cuts_leave_no_trace(cuts: list[int]) -> None:
    samples = np.random.default_rng(0).standard_normal((4000, 1)).astype(np.float32)
    blocks = np.split(samples, sorted(cuts))
    got = np.concatenate(list(resample_blocks(blocks, 44_100, 16_000)))
    np.testing.assert_array_equal(got, resample(samples, 44_100, 16_000))


@pytest.mark.parametrize("frames", [0, 10, 1452, 3000])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_length_wanted_cuts_or_adds_silence(frames: int, rate: int) -> None:
    got = resample(tone(rate, 4000 / rate), rate, 16_000, frames)
    assert len(got) == frames
    if frames == 3000 and rate == 44_100:
        assert np.abs(got[1600:]).max() < 1e-3  # 4000 samples at 44.1 kHz are 1451 at 16 kHz


def test_rates_must_be_positive() -> None:
    with pytest.raises(ValueError, match="target_rate: expected a whole number of Hz from 1 to 2147483647, got 0"):
        resample(np.zeros(10, dtype=np.float32), 16_000, 0)
