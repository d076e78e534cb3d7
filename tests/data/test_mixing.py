"""What examples are made with."""

from __future__ import annotations

import numpy as np
import pytest

from lite_rtse_ext.data import mixing

RATE_HZ = 16_000


def noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)


def band_power_db(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    return float(10 * np.log10(power[(frequencies >= low_hz) & (frequencies < high_hz)].mean() + 1e-30))


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 17.5])
def test_mixtures_have_the_snr_asked_for(snr_db: float) -> None:
    speech, scaled = noise(seed=1), mixing.mix_at(noise(seed=1), noise(seed=2), snr_db)
    assert 20 * np.log10(mixing.rms(speech) / mixing.rms(scaled)) == pytest.approx(snr_db, abs=1e-3)
    assert scaled.dtype == np.float32


def test_an_offset_changes_no_snr() -> None:
    speech, some = noise(seed=1), noise(seed=2)
    shifted = mixing.mix_at(speech + np.float32(0.5), some + np.float32(2.0), 5.0)
    scaled = mixing.mix_at(speech, some, 5.0)
    np.testing.assert_allclose(shifted - shifted.mean(), scaled - scaled.mean(), rtol=0, atol=1e-5)


def test_silence_mixes_without_a_fault() -> None:
    silence, some = np.zeros(100, np.float32), noise(0.01)[:100]
    np.testing.assert_array_equal(mixing.mix_at(silence, some, 5.0), some)
    np.testing.assert_array_equal(mixing.mix_at(some, silence, 5.0), silence)
    assert mixing.rms(silence[:0]) == 0.0


def test_cuts_have_the_length_asked_for_and_come_from_the_signal() -> None:
    random, ramp = np.random.default_rng(0), np.arange(1, 101, dtype=np.float32)
    starts = {float(mixing.cut(ramp, 40, random)[0]) for _ in range(500)}
    assert starts == set(range(1, 62))
    long = mixing.cut(ramp, 250, random)
    assert len(long) == 250
    assert set(np.diff(long)) <= {1.0, -99.0}


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_changes_length_and_pitch(factor: float) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    changed = mixing.change_speed(tone, factor)
    assert len(changed) == pytest.approx(RATE_HZ / factor, abs=2)
    spectrum = np.abs(np.fft.rfft(changed * np.hanning(len(changed))))
    assert np.argmax(spectrum) * RATE_HZ / len(changed) == pytest.approx(1000 * factor, abs=2)
    assert mixing.change_speed(tone, 1.0) is tone


def test_a_diffuse_room_rings_without_a_direct_sound() -> None:
    responses = [mixing.diffuse_response(np.random.default_rng(seed)) for seed in range(40)]
    lengths = [len(each) / RATE_HZ for each in responses]
    assert 0.2 <= min(lengths) < 0.4
    assert 1.0 < max(lengths) <= 1.2
    for response in responses:
        assert response.dtype == np.float32
        tenths = [20 * np.log10(mixing.rms(part)) for part in np.array_split(response, 10)]
        assert tenths[0] - tenths[-1] == pytest.approx(54, abs=2)  # 60 dB over the whole, 54 from first to last tenth
        early = np.square(response[: RATE_HZ // 400]).sum() / np.square(response).sum()
        assert early < 0.25  # of the energy comes within the first 2.5 ms
    np.testing.assert_array_equal(responses[7], mixing.diffuse_response(np.random.default_rng(7)))


def test_band_limit_takes_away_the_treble_alone() -> None:
    before, after = noise(), mixing.band_limit(noise(), 4000.0)
    assert band_power_db(after, 0, 3900) == pytest.approx(band_power_db(before, 0, 3900), abs=0.01)
    assert band_power_db(after, 4500, 8000) < band_power_db(before, 4500, 8000) - 100


def test_the_equaliser_stays_within_its_range() -> None:
    before = noise(4.0)
    gains = []
    for seed in range(20):
        after = mixing.equalize(before, 6.0, np.random.default_rng(seed))
        for low in range(50, 7900, 500):
            gains.append(band_power_db(after, low, low + 100) - band_power_db(before, low, low + 100))
    assert np.max(np.abs(gains)) < 6.01
    assert np.std(gains) > 2.0
    assert mixing.equalize(before, 0.0, np.random.default_rng(0)) is before


def test_a_room_is_a_convolution_without_delay() -> None:
    samples, response = noise(0.1), np.array([0, 0, 1.0, 0.5, 0, 0.25], np.float32)
    want = np.convolve(samples, response[2:])[: len(samples)]
    np.testing.assert_allclose(mixing.reverberate(samples, response), want, atol=1e-6)


def room(direct: int = 30, seconds: float = 0.4) -> np.ndarray:
    """A response whose strongest sample is a reflection 100 samples after the direct sound."""
    decay = 10 ** (-3 * np.arange(round(seconds * RATE_HZ)) / (seconds * RATE_HZ))
    tail = np.random.default_rng(3).normal(0, 0.05, len(decay)) * decay
    tail[0], tail[100] = 0.4, 1.0
    return np.concatenate([np.zeros(direct), tail]).astype(np.float32)


def test_the_direct_sound_need_not_be_the_strongest() -> None:
    assert mixing.direct_sound(room(direct=30)) == 30
    assert mixing.direct_sound(-room(direct=0)) == 0
    assert mixing.direct_sound(np.zeros(5, np.float32)) == 0


@pytest.mark.parametrize("early_ms", [0.01, 10.0, 50.0, 1000.0])
def test_the_early_part_is_a_convolution_with_the_cut_response(early_ms: float) -> None:
    response = room(direct=0)
    early = mixing.early_part(response, early_ms)
    whole = max(1, round(early_ms * 16))
    np.testing.assert_array_equal(early[:whole], response[:whole])
    assert len(early) <= whole + 80
    fading = np.abs(early[whole:])
    assert (fading <= np.abs(response[whole : whole + 80])).all()
    if 1000 < len(early) < len(response):
        assert fading[-8:].max() < 0.05 * np.abs(response[whole:]).max()
    samples = noise(0.2)
    want = np.convolve(samples, early)[: len(samples)]
    np.testing.assert_allclose(mixing.reverberate(samples, early, 0), want, atol=1e-5)


def test_a_room_can_begin_at_any_sample() -> None:
    samples, response = noise(0.1), np.array([0.5, 0, 1.0, 0.25], np.float32)
    want = np.convolve(samples, response)[: len(samples)]
    np.testing.assert_allclose(mixing.reverberate(samples, response, 0), want, atol=1e-6)
