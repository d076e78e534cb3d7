"""What enhancement leaves behind, counted."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import artifacts
from lite_rtse_ext.data.mixing import band_limit
from tests.data.prepare.corpus import RATE_HZ, clip_samples


@pytest.fixture
def speech() -> np.ndarray:
    """Two seconds of speech, and a pause."""
    return np.pad(clip_samples("it-dir-instr")[: 2 * RATE_HZ], (0, RATE_HZ)).astype(np.float32)


def test_artifacts_of_what_does_nothing(speech: np.ndarray) -> None:
    noisy = speech + np.random.default_rng(0).normal(0, 0.003, len(speech)).astype(np.float32)
    found = artifacts.count(noisy, speech, noisy)
    assert found.noise_reduction_db == 0
    assert found.kurtosis_ratio == 1
    assert (found.over_suppression_bass, found.over_suppression_treble) == (0, 0)


def test_artifacts_are_seen(speech: np.ndarray) -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.003, len(speech)).astype(np.float32)
    noisy = speech + noise
    softer = artifacts.count(noisy, speech, speech + 0.1 * noise)
    assert softer.noise_reduction_db == pytest.approx(20, abs=0.1)
    assert softer.kurtosis_ratio == pytest.approx(1, abs=0.05)
    # On for a third of the time: the same power there, so three times the kurtosis over all of it.
    gate = (np.arange(len(speech)) // (RATE_HZ // 10) % 3 == 0).astype(np.float32)
    assert artifacts.count(noisy, speech, speech + gate * noise).kurtosis_ratio > 2
    part_gone = noisy.copy()
    part_gone[: RATE_HZ // 2] *= 0.1
    found = artifacts.count(noisy, speech, part_gone)
    assert 3 < found.over_suppression_bass < 50
    assert 3 < found.over_suppression_treble < 50
    softer = artifacts.count(noisy, speech, 0.1 * noisy)
    assert (softer.over_suppression_bass, softer.over_suppression_treble) == (0, 0)
    without_treble = artifacts.count(noisy, speech, band_limit(noisy, 2000.0))
    assert without_treble.over_suppression_bass == 0
    assert without_treble.over_suppression_treble > 80


def test_without_pauses_there_is_nothing_to_say_of_them(speech: np.ndarray) -> None:
    steady = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)
    found = artifacts.count(steady, steady, steady)
    assert np.isnan([found.noise_reduction_db, found.kurtosis_ratio]).all()
