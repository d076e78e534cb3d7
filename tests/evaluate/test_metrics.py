"""Figures of recordings, and those that can't be had."""

from __future__ import annotations

import numpy as np
import pytest

from lite_rtse_ext.evaluate.metrics import METRICS, MetricError, measure
from tests.data.corpus import clip_samples


def test_figures_fall_with_noise() -> None:
    clean = clip_samples("it-dir-instr")[:64_000]
    noise = np.random.default_rng(0).normal(0, 1, len(clean)).astype(np.float32)
    for name in METRICS:
        values = [measure(name, clean + np.float32(level) * noise, clean) for level in (0.001, 0.01, 0.1)]
        assert values == sorted(values, reverse=True), name


def test_si_snr_is_scale_invariant_and_exact() -> None:
    clean = clip_samples("it-dir-instr")[:16_000]
    clean = clean - clean.mean()
    noise = np.random.default_rng(0).normal(0, 1, len(clean))
    noise -= noise.mean()
    noise -= (noise @ clean) / (clean @ clean) * clean  # what is left has no part of the speech
    noisy = (clean + noise * np.linalg.norm(clean) / np.linalg.norm(noise) * 10 ** (-7 / 20)).astype(np.float32)
    assert measure("si_snr", noisy, clean) == pytest.approx(7.0, abs=1e-3)
    assert measure("si_snr", 0.1 * noisy, clean) == pytest.approx(7.0, abs=1e-3)


def test_the_same_recording_has_the_best_figures() -> None:
    clean = clip_samples("it-dir-instr")[:64_000]
    assert measure("pesq", clean, clean) == pytest.approx(4.64, abs=0.01)
    assert measure("stoi", clean, clean) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", ["pesq", "stoi", "si_snr"])
def test_figures_that_can_not_be_had_say_why(name: str) -> None:
    silent = np.zeros(16_000, np.float32)
    with pytest.raises(MetricError, match=name):
        measure(name, silent, silent)


@pytest.mark.parametrize("name", ["pesq", "stoi"])
def test_recordings_too_short_for_a_figure_are_no_zero(name: str) -> None:
    short = clip_samples("it-dir-instr")[8000:9000]
    with pytest.raises(MetricError, match=f"{name}: ."):
        measure(name, short, short)
