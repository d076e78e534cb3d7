"""Opinions without a clean recording."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("speechmos", reason="speechmos, which has DNSMOS's networks, is not installed")

from lite_rtse_ext.evaluate.dnsmos import ACTIVE_LEVEL_DB, OPINIONS, Dnsmos, _windows, at_active_level
from lite_rtse_ext.evaluate.metrics import SilenceError
from tests.data.prepare.corpus import clip_samples

WINDOW = 144_160

PUBLISHED = {"dnsmos_sig": 3.61522, "dnsmos_bak": 4.09068, "dnsmos_ovrl": 3.31874, "dnsmos_p808": 3.89610}
"""What speechmos.dnsmos.run gives for the window below, at the usual level."""


@pytest.fixture(scope="module")
def dnsmos() -> Dnsmos:
    return Dnsmos()


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return clip_samples("it-dir-instr")


def test_opinions_are_the_published_ones(dnsmos: Dnsmos, speech: np.ndarray) -> None:
    """Of one window at the usual level; expected is what speechmos itself gives, with librosa's spectrogram."""
    found = dnsmos(np.resize(speech, WINDOW))
    assert list(found) == list(OPINIONS)
    assert found == pytest.approx(PUBLISHED, abs=2e-3)


@pytest.mark.parametrize(("gain", "offset"), [(0.003, 0.0), (0.9, 0.0), (1.0, 0.2), (3.0, 0.0)])
def test_level_and_offset_do_not_count(dnsmos: Dnsmos, speech: np.ndarray, gain: float, offset: float) -> None:
    changed = np.float32(gain) * speech + np.float32(offset)
    assert dnsmos(changed) == pytest.approx(dnsmos(speech), abs=2e-3)


def test_noise_is_heard(dnsmos: Dnsmos, speech: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, len(speech)).astype(np.float32)
    noisy, clean = dnsmos(speech + noise), dnsmos(speech)
    assert all(noisy[name] < clean[name] - 0.1 for name in OPINIONS)


@pytest.mark.parametrize("samples", [np.zeros(16_000, np.float32), np.full(200_000, 0.1, np.float32)])
def test_silence_has_no_opinion(dnsmos: Dnsmos, samples: np.ndarray) -> None:
    with pytest.raises(SilenceError, match="the estimate is silent, or constant"):
        dnsmos(samples)


@pytest.mark.parametrize("length", [1, 16_000, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 5 * WINDOW + 7])
def test_windows_reach_both_ends_and_leave_no_gap(length: int) -> None:
    samples = np.arange(1, length + 1, dtype=np.float32)
    windows = _windows(samples)
    assert {len(window) for window in windows} == {WINDOW}
    assert (windows[0][0], max(window.max() for window in windows)) == (1, length)
    starts = np.array([window[0] for window in windows])
    assert (np.diff(starts) <= WINDOW / 2 + 1).all()


@pytest.mark.parametrize("pause", [0, 16_000, 160_000])
def test_pauses_leave_the_active_level_alone(speech: np.ndarray, pause: int) -> None:
    steady = np.random.default_rng(0).normal(0, 0.01, 32_000).astype(np.float32)
    scaled = at_active_level(np.pad(steady, (0, pause)))[:32_000]
    level_db = 10 * np.log10(np.mean(np.square(scaled, dtype=np.float64)))
    assert level_db == pytest.approx(ACTIVE_LEVEL_DB, abs=0.1)
