"""Conversion of whole signals by the engine's filters: any part of the result, no delay, silence around the signal."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lite_rtse_ext import _stream
from lite_rtse_ext.stream.resampling import convert

RATES = [8000, 11_025, 16_000, 22_255, 44_100, 48_000, 96_000, 1_000_000]


def noise(frames: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((frames, 2)).astype(np.float32)


@given(cuts=st.lists(st.integers(0, 5000), max_size=3), pair=st.permutations(RATES[:-1]))
def test_parts_are_those_of_the_whole(cuts: list[int], pair: list[int]) -> None:
    source, target = pair[:2]
    samples = noise(min(3000, 5000 * source // target))
    whole = convert(samples, source, target)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    parts = [convert(samples, source, target, *ends) for ends in pairwise(places)]
    np.testing.assert_array_equal(np.concatenate([whole[:0], *parts]), whole)


@pytest.mark.parametrize("rate", RATES)
def test_there_and_back_is_the_tone_without_delay(rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(rate // 4) / rate).astype(np.float32)[:, None]
    back = convert(convert(tone, rate, 16_000), 16_000, rate, 0, len(tone))
    middle = slice(rate // 20, -rate // 20)  # the ends ring, as the tone begins and ends abruptly
    assert np.abs(back - tone)[middle].max() < 5e-5


@pytest.mark.parametrize("rate", RATES)
def test_silence_is_before_and_behind(rate: int) -> None:
    samples = noise(100)
    expected = convert(samples, rate, 16_000)
    padded = np.pad(samples, ((rate, rate), (0, 0)))  # of a second, so that both rates have samples at its ends
    got = convert(padded, rate, 16_000, 16_000, 16_000 + len(expected))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert not convert(samples, rate, 16_000, len(expected) + 1000, len(expected) + 1010).any()


def test_the_result_is_silent_without_samples() -> None:
    assert convert(np.zeros((0, 2), np.float32), 44_100, 16_000).shape == (0, 2)
    assert not convert(np.zeros((0, 2), np.float32), 44_100, 16_000, 5, 9).any()


@pytest.mark.parametrize(
    "numbers",
    [(0, 16_000, 0, 1), (16_000, 10**7, 0, 1), (16_000, 8000, -1, 1), (16_000, 8000, 0, -1), (1000, 2000, 2**62, 9)],
)
def test_numbers_out_of_range_are_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        _stream.resample(np.zeros(3, np.float32), *numbers)
