"""Numbers as other libraries give them, and where a sample rate is taken."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from lite_rtse_ext.audio import AudioFormat, resample
from lite_rtse_ext.stream import Streamer
from lite_rtse_ext.utils.arguments import real_number, sample_rate_hz, switch
from tests.stream.conftest import network

WHOLE = [
    48_000,
    48_000.0,
    np.int64(48_000),
    np.int32(48_000),
    np.uint16(48_000),
    np.float64(48_000),
    np.float32(48_000),
    np.array(48_000),
    Fraction(48_000),
]
NO_NUMBERS = ["48000", b"48000", True, np.True_, None, [48_000], np.array([48_000]), 48_000j]
OTHERS = [44_100.5, np.float64(44_100.5), 0, -48_000, float("nan"), float("inf"), 10**12, 10**400, Fraction(-(10**400))]

TAKERS: dict[str, Callable[[Any], int]] = {
    "the check": sample_rate_hz,
    "Streamer": lambda rate: Streamer(network("small"), sample_rate=rate).sample_rate,
    "AudioFormat": lambda rate: AudioFormat(rate, 1, "WAV", "PCM_16").sample_rate,
    "resample, from": lambda rate: 1000 * len(resample(np.zeros(48_000, np.float32), rate, 1000)) // 1000 * 48,
    "resample, to": lambda rate: 1000 * len(resample(np.zeros(1000, np.float32), 1000, rate)) // 1000,
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("rate", WHOLE, ids=lambda rate: f"{type(rate).__name__} {rate}")
def test_a_whole_rate_is_taken_as_any_number(taker: str, rate: Any) -> None:
    taken = TAKERS[taker](rate)
    assert (taken, type(taken)) == (48_000, int)


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("rate", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_no_rate(taker: str, rate: Any) -> None:
    with pytest.raises(TypeError, match=r"rate: expected a whole number of Hz from .*, got "):
        TAKERS[taker](rate)


@pytest.mark.parametrize(
    ("rate", "taker"),
    [
        pytest.param(rate, taker, id=f"{rate!s:.20}-{taker}")
        for rate, taker in itertools.product(OTHERS, TAKERS)
        if (rate, taker) != (0, "AudioFormat")  # there 0 stands for a rate that is not known yet
    ],
)
def test_other_numbers_are_no_rates(rate: Any, taker: str) -> None:
    with pytest.raises(ValueError, match=r"rate: expected a whole number of Hz from .*, got "):
        TAKERS[taker](rate)


def test_numbers_and_switches() -> None:
    assert real_number(np.float32(0.5), "wet", "a share") == 0.5
    assert real_number(10**400, "extra_reduction_db", "a number of dB") == math.inf
    assert real_number(Fraction(-(10**400)), "extra_reduction_db", "a number of dB") == -math.inf
    for wrong in ("a", None, True, 1j):
        with pytest.raises(TypeError, match="wet: expected a share, got "):
            real_number(wrong, "wet", "a share")
    assert switch(np.True_, "high_pass") is True
    for wrong in ("no", 1, None, 0.0):
        with pytest.raises(TypeError, match="high_pass: expected True or False, got "):
            switch(wrong, "high_pass")
