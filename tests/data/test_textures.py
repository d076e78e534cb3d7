"""Noise that nobody has recorded."""

from __future__ import annotations

import numpy as np

from lite_rtse_ext.data import textures
from lite_rtse_ext.data.mixing import equalize, rms
from tests.data.test_mixing import RATE_HZ, band_power_db, noise


def test_synthetic_noise_is_of_all_kinds() -> None:
    """Steady and made of drops, dull and bright, even and coming and going: what a hundred of them spread over."""
    some = [textures.synthetic_noise(RATE_HZ, np.random.default_rng(seed)) for seed in range(100)]
    assert all(each.shape == (RATE_HZ,) and each.dtype == np.float32 and np.isfinite(each).all() for each in some)
    assert all(each.any() for each in some)
    np.testing.assert_array_equal(some[7], textures.synthetic_noise(RATE_HZ, np.random.default_rng(7)))
    peaks = [float(np.abs(each).max()) / rms(each) for each in some]
    assert sum(peak < 5.5 for peak in peaks) > 10
    assert sum(peak > 10 for peak in peaks) > 10
    tilts_db = [band_power_db(each, 4000, 8000) - band_power_db(each, 0, 1000) for each in some]
    assert min(tilts_db) < -10
    assert max(tilts_db) > 10
    spans_db = [np.ptp([20 * np.log10(rms(part)) for part in np.split(each, 10)]) for each in some]
    assert min(spans_db) < 3
    assert max(spans_db) > 10


def test_what_comes_and_goes_follows_a_contour_within_its_range() -> None:
    steady = np.ones(2 * RATE_HZ, np.float32)
    contours_db = [
        20 * np.log10(textures.modulate_amplitude(steady, np.random.default_rng(seed))) for seed in range(50)
    ]
    assert all(contour.shape == steady.shape and np.abs(contour).max() <= 12.001 for contour in contours_db)
    spans_db = [np.ptp(contour) for contour in contours_db]
    assert min(spans_db) < 3
    assert max(spans_db) > 15
    assert textures.modulate_amplitude(noise(), np.random.default_rng(0)).dtype == np.float32


def test_what_is_scrambled_keeps_its_spectrum_alone() -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[100:200] = noise()[:100]
    click = equalize(click, 15.0, np.random.default_rng(3))
    steady = textures.randomize_phases(click, np.random.default_rng(0))
    assert steady.dtype == np.float32
    np.testing.assert_allclose(
        np.abs(np.fft.rfft(steady))[1:-1], np.abs(np.fft.rfft(click))[1:-1], rtol=1e-3, atol=1e-3
    )
    parts = [rms(part) for part in np.split(steady, 10)]
    assert max(parts) < 1.5 * min(parts)
    assert not np.array_equal(steady, textures.randomize_phases(click, np.random.default_rng(1)))
    assert len(textures.randomize_phases(click[:99], np.random.default_rng(0))) == 99


def test_textures_of_grains_are_dense_and_sparse() -> None:
    sources = [noise(seed=1), noise(0.001, seed=2)]  # the other one shorter than any grain
    some = [textures.granular_texture(sources, RATE_HZ, np.random.default_rng(seed)) for seed in range(100)]
    assert all(each.shape == (RATE_HZ,) and each.dtype == np.float32 and np.isfinite(each).all() for each in some)
    np.testing.assert_array_equal(some[7], textures.granular_texture(sources, RATE_HZ, np.random.default_rng(7)))
    silent_shares = [float(np.mean(each == 0)) for each in some]
    assert sum(share > 0.5 for share in silent_shares) > 10
    assert sum(share < 0.05 for share in silent_shares) > 10


def test_grains_are_scraps_of_what_they_are_made_of() -> None:
    time = np.arange(RATE_HZ) / RATE_HZ
    tone = np.sin(2 * np.pi * 3000 * time).astype(np.float32)
    for seed in range(20):
        texture = textures.granular_texture([tone], RATE_HZ, np.random.default_rng(seed))
        assert band_power_db(texture, 2500, 3500) - band_power_db(texture, 5000, 8000) > 20


def test_grains_of_silence_are_silent() -> None:
    texture = textures.granular_texture([np.zeros(100, np.float32)], RATE_HZ, np.random.default_rng(0))
    assert not texture.any()


def test_hum_is_a_mains_tone_and_its_multiples() -> None:
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        hum = textures.hum(RATE_HZ, random)
        assert (len(hum), hum.dtype) == (RATE_HZ, np.float32)
        assert abs(rms(hum) - 1) < 1e-3
        spectrum = np.abs(np.fft.rfft(hum)) / (RATE_HZ / 2)  # a bin a hertz
        mains = int(spectrum.argmax())
        seen.add(mains)
        multiples = mains * np.arange(1, 11)
        assert np.linalg.norm(np.delete(spectrum, multiples)) < 1e-3
        assert (spectrum[multiples] <= spectrum[mains] / np.arange(1, 11) + 1e-3).all()
    assert seen == {50, 60}
