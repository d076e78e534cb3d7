"""Figures of recordings, and those that can't be had."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lite_rtse_ext.evaluate.metrics import METRICS, MetricError, SilenceError, measure, require_noise, require_sound
from tests.data.prepare.corpus import clip_samples


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


SILENT = {
    "zeros": np.zeros(48_000, np.float32),
    "a constant": np.full(48_000, 0.1, np.float32),
    "a negative constant": np.full(48_000, -0.7, np.float32),
    "less than any file holds": np.random.default_rng(0).normal(0, 1e-9, 48_000).astype(np.float32),
    "no samples": np.zeros(0, np.float32),
}


@pytest.mark.parametrize("estimate", SILENT.values(), ids=SILENT)
@pytest.mark.parametrize("name", METRICS)
def test_a_silent_estimate_has_no_figure(name: str, estimate: np.ndarray) -> None:
    clean = clip_samples("it-dir-instr")[: len(estimate)]
    with pytest.raises(MetricError, match=f"{name}: the (clean recording|estimate) is silent, or constant"):
        measure(name, estimate, clean)
    with pytest.raises(MetricError, match=f"{name}: the clean recording is silent, or constant"):
        measure(name, clean, estimate)
    with pytest.raises(SilenceError):
        require_sound(estimate)


@pytest.mark.parametrize("level", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_soft_sound_is_no_silence(level: float, offset: float) -> None:
    clean = clip_samples("it-dir-instr")[:48_000]
    estimate = np.float32(level) * clean + np.float32(offset * level)
    require_sound(estimate)
    assert measure("si_snr", estimate, clean) > 60


@pytest.mark.parametrize("name", METRICS)
def test_a_figure_that_is_refused_is_refused_in_words(name: str) -> None:
    """PESQ finds nothing in a signal that is soft beside the other: its samples have 16 bits."""
    clean = clip_samples("it-dir-instr")[:48_000]
    try:
        assert np.isfinite(measure(name, np.float32(1e-6) * clean, clean))
    except MetricError as error:
        assert str(error) == f"{name}: one of the recordings is silent beside the other"  # noqa: PT017


def test_recordings_of_two_lengths_are_refused() -> None:
    with pytest.raises(MetricError, match="expected recordings of one length, got 9 and 10 samples"):
        measure("stoi", np.ones(9, np.float32), np.ones(10, np.float32))


def _with_noise(clean: np.ndarray, snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 1, len(clean))
    return (clean + noise * np.std(clean) * 10 ** (-snr_db / 20)).astype(np.float32)


@pytest.mark.parametrize(
    "noisy",
    [
        lambda clean: clean,
        lambda clean: np.float32(0.5) * clean,
        lambda clean: clean + np.float32(0.2),
        lambda clean: _with_noise(clean, 80.0),
    ],
    ids=["the same", "at another level", "with an offset", "noise that no file holds"],
)
def test_without_noise_there_is_nothing_to_judge(noisy: Callable[[np.ndarray], np.ndarray]) -> None:
    clean = clip_samples("it-dir-instr")[:48_000]
    with pytest.raises(MetricError, match=r"the noisy recording is the clean one: expected .* at most 60 dB, got \d+"):
        require_noise(noisy(clean), clean)


@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 40.0])
def test_with_noise_there_is(snr_db: float) -> None:
    clean = clip_samples("it-dir-instr")[:48_000]
    require_noise(_with_noise(clean, snr_db), clean)


def test_pesq_depends_on_silence_that_is_appended() -> None:
    """So figures are taken over recordings at their own length."""
    clean = clip_samples("it-dir-instr")[:48_000]
    noisy, silence = _with_noise(clean, 20.0), np.zeros(96_000, np.float32)
    padded = (np.concatenate([side, silence]) for side in (noisy, clean))
    assert abs(measure("pesq", *padded) - measure("pesq", noisy, clean)) > 0.05


@pytest.mark.parametrize("name", ["pesq", "stoi"])
def test_recordings_too_short_for_a_figure_are_no_zero(name: str) -> None:
    short = clip_samples("it-dir-instr")[8000:9000]
    with pytest.raises(MetricError, match=f"{name}: ."):
        measure(name, short, short)
