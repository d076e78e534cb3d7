"""What equipment does to an example, and that examples without equipment stay as they are."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext.data import Manifest, equipment
from lite_rtse_ext.data.dataset import TrainingExamples
from lite_rtse_ext.data.mixing import MixingOptions, rms
from tests.data.prepare.corpus import clip_samples
from tests.data.test_mixing import RATE_HZ, band_power_db, noise

KBPS = (12.0, 32.0, 128.0)


def speech(seconds: float = 1.0) -> np.ndarray:
    return np.resize(clip_samples("ru"), round(seconds * RATE_HZ)).astype(np.float32)


def delay(samples: np.ndarray, reference: np.ndarray) -> float:
    """The delay in samples at the peak of the cross-correlation, between samples by a parabola."""
    size = 4 * len(samples)
    spectrum = np.fft.rfft(samples, size) * np.conj(np.fft.rfft(reference, size))
    correlation = np.fft.irfft(spectrum, size)
    peak = int(np.argmax(correlation))
    before, at, after = (correlation[(peak + step) % size] for step in (-1, 0, 1))
    place = peak + 0.5 * (before - after) / (before - 2 * at + after)
    return float(place if place < size / 2 else place - size)


def snr_db(samples: np.ndarray, reference: np.ndarray) -> float:
    return 20 * np.log10(rms(reference) / rms(samples - reference))


@pytest.mark.parametrize("kbps", KBPS)
@pytest.mark.parametrize("name", list(equipment.CODECS))
def test_codecs_keep_length_and_time(name: str, kbps: float) -> None:
    samples = speech()
    coded = equipment.encode(samples, name, kbps)
    assert coded.dtype == np.float32
    assert len(coded) == len(samples)
    assert abs(delay(coded, samples)) < 0.5
    np.testing.assert_array_equal(coded, equipment.encode(samples, name, kbps))


@pytest.mark.parametrize("count", [1600, 1601, 4001, 16_383])
@pytest.mark.parametrize("name", list(equipment.CODECS))
def test_codecs_keep_any_length(name: str, count: int) -> None:
    assert len(equipment.encode(noise(2.0)[:count], name)) == count


@pytest.mark.parametrize("name", ["opus", "mp3"])
def test_a_higher_bit_rate_keeps_more(name: str) -> None:
    found = [snr_db(equipment.encode(speech(), name, kbps), speech()) for kbps in KBPS]
    assert 3 < found[0] < found[1] < found[2]
    assert found[0] < 16
    assert found[2] > 17


@pytest.mark.parametrize("name", ["alaw", "mulaw"])
def test_g711_is_the_telephone_band_with_eight_bits(name: str) -> None:
    coded, band = equipment.encode(speech(), name), equipment.limit_to_telephone(speech())
    assert 30 < snr_db(coded, band) < 45
    assert abs(delay(coded, band)) < 0.01
    hiss = equipment.limit_to_telephone(noise())
    assert band_power_db(hiss, 0, 3500) == pytest.approx(band_power_db(noise(), 0, 3500), abs=0.05)
    assert band_power_db(hiss, 4300, 8000) < band_power_db(noise(), 4300, 8000) - 50


@pytest.mark.parametrize("level_db", [-20.0, -6.0, -1.0])
def test_clipping_flattens_what_is_above_its_level(level_db: float) -> None:
    samples = speech()
    clipped, limit = equipment.clip(samples, level_db), np.abs(samples).max() * 10 ** (level_db / 20)
    assert np.abs(clipped).max() == pytest.approx(limit)
    above = np.abs(samples) > limit
    assert above.any()
    assert np.mean(np.abs(clipped) >= 0.9999 * limit) == pytest.approx(above.mean(), abs=1e-3)
    np.testing.assert_array_equal(clipped[~above], samples[~above])
    assert not equipment.clip(np.zeros(9, np.float32), level_db).any()


def test_a_microphone_filters_all_signals_alike() -> None:
    both = noise(seed=1), noise(seed=2)
    first, second = equipment.microphone(both, 9.0, np.random.default_rng(4))
    for low_hz in range(100, 7800, 400):
        gains = [
            band_power_db(after, low_hz, low_hz + 200) - band_power_db(before, low_hz, low_hz + 200)
            for before, after in zip(both, (first, second), strict=True)
        ]
        assert gains[0] == pytest.approx(gains[1], abs=0.5)
    (again,) = equipment.microphone(both[:1], 9.0, np.random.default_rng(4))
    np.testing.assert_array_equal(first, again)
    (same,) = equipment.microphone(both[:1], 0.0, np.random.default_rng(4))
    np.testing.assert_allclose(same, both[0], atol=1e-6)


def test_microphones_are_smooth_causal_and_different() -> None:
    pulse = np.zeros(RATE_HZ, np.float32)
    pulse[4000] = 1.0
    gains = []
    for seed in range(40):
        (response,) = equipment.microphone([pulse], 6.0, np.random.default_rng(seed))
        energy = np.square(response, dtype=np.float64)
        assert energy[:4000].sum() < 1e-8 * energy.sum()
        assert energy[4000 + RATE_HZ // 20 :].sum() < 1e-4 * energy.sum()
        gain_db = 20 * np.log10(np.abs(np.fft.rfft(response)))
        assert np.abs(np.diff(gain_db[20:])).max() < 0.25  # from one hertz to the next
        gains.append(gain_db[50::1000])
    assert np.abs(gains).max() < 24.1  # four parts of 6 dB
    assert np.std(gains, axis=0).min() > 1.5


PLAIN = MixingOptions(seconds=0.5, snr_db=(5.0, 5.0), speech_dbfs=(-30.0, -30.0))
ON = {
    "microphone_prob": {},
    "clipping_prob": {"clipping_db": (-6.0, -6.0)},
    "opus_prob": {},
    "mp3_prob": {},
    "g711_prob": {},
}
BOTH = ("microphone_prob", "g711_prob")


def examples(path: Path, options: MixingOptions) -> TrainingExamples:
    return TrainingExamples(Manifest.load(path), options, seed=5)


def example(path: Path, place: int = 0, **options: object) -> tuple[np.ndarray, np.ndarray]:
    noisy, clean = examples(path, dataclasses.replace(PLAIN, **options))[0, place]
    return noisy.numpy(), clean.numpy()


@pytest.mark.parametrize("option", list(ON))
def test_equipment_is_on_the_noisy_side_or_on_both(manifest_path: Path, option: str) -> None:
    """Each option alone changes an example as it should, and the same seed gives the same example again."""
    noisy, clean = example(manifest_path)
    changed, target = example(manifest_path, **{option: 1.0}, **ON[option])
    assert not np.array_equal(changed, noisy)
    assert np.array_equal(target, clean) == (option not in BOTH)
    assert abs(delay(changed, noisy)) < 1
    assert abs(delay(target, clean)) < 1
    for one, other in zip((changed, target), example(manifest_path, **{option: 1.0}, **ON[option]), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("option", list(ON))
def test_equipment_is_as_frequent_as_asked(manifest_path: Path, option: str) -> None:
    plain = examples(manifest_path, dataclasses.replace(PLAIN, seconds=0.1))
    some = examples(manifest_path, dataclasses.replace(PLAIN, seconds=0.1, **{option: 0.5}))
    changed = sum(not plain[0, place].noisy.equal(some[0, place].noisy) for place in range(40))
    assert 9 < changed < 31


def test_an_example_passes_one_codec_at_most(manifest_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []

    def note(samples: np.ndarray, name: str, kbps: float) -> np.ndarray:
        assert 24 <= kbps <= 64
        used.append(name)
        return samples

    monkeypatch.setattr(equipment, "encode", note)
    options = dataclasses.replace(PLAIN, seconds=0.1, opus_prob=0.3, mp3_prob=0.3, g711_prob=0.4)
    data = examples(manifest_path, options)
    for place in range(80):
        _ = data[0, place]
    assert len(used) == 80
    assert all(used.count(name) > 5 for name in equipment.CODECS)


def test_loud_examples_stay_within_full_scale(manifest_path: Path) -> None:
    """Before a codec, which would clip them, and behind it."""
    loud = {"speech_dbfs": (0.0, 0.0), "offset": 1.0, "offset_dbfs": (-3.0, -3.0)}
    plain, _ = example(manifest_path, **loud)
    for option in ("opus_prob", "mp3_prob", "g711_prob"):
        noisy, _ = example(manifest_path, **{option: 1.0}, **loud)
        assert np.abs(noisy).max() <= 1.0
        assert snr_db(noisy, plain) > 5


def test_a_codec_that_is_missing_is_named(manifest_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sf, "available_formats", lambda: {"WAV": "WAV"})
    for option in ("opus_prob", "mp3_prob"):
        with pytest.raises(RuntimeError, match=rf"{option}: expected 0, as libsndfile .* has no .*, got 0\.1"):
            examples(manifest_path, dataclasses.replace(PLAIN, **{option: 0.1}))
    examples(manifest_path, dataclasses.replace(PLAIN, g711_prob=1.0))


def test_a_codec_that_changes_the_length_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sf, "read", lambda file, dtype: (np.zeros(7, np.float32), RATE_HZ))
    with pytest.raises(RuntimeError, match=r"OPUS: expected 1600 samples from libsndfile .*, got 7"):
        equipment.encode(noise(0.1), "opus")


def test_levels_reach_the_examples(manifest_path: Path) -> None:
    options = MixingOptions(seconds=0.5, snr_db=(40.0, 40.0), speech_dbfs=(-45.0, -10.0))
    data = examples(manifest_path, options)
    pairs = [data[0, place] for place in range(60)]
    levels = [20 * np.log10(rms(clean.numpy())) for _, clean in pairs]
    assert -45.01 < min(levels) < -41
    assert -14 < max(levels) < -9.99
    for level, (noisy, _) in zip(levels, pairs, strict=True):
        assert 20 * np.log10(rms(noisy.numpy())) == pytest.approx(level, abs=0.1)


BAD = {
    "early_ms": (0, -50.0, 10_001.0, float("nan"), "50", True),
    "microphone_prob": (-0.1, 1.1, "often", float("nan")),
    "microphone_db": (-1.0, 101.0, "loud"),
    "clipping_prob": (-0.1, 1.1, None),
    "clipping_db": ((-1.0, -5.0), (-5.0, 1.0), -5.0, (-5.0,), (-101.0, -5.0)),
    "opus_prob": (-0.1, 1.1, "yes"),
    "mp3_prob": (-0.1, 1.1, []),
    "g711_prob": (-0.1, 1.1, {}),
    "codec_kbps": ((64.0, 24.0), (8.0, 24.0), (24.0, 256.0), 32.0, ("24", 32.0)),
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option, some in BAD.items() for value in some])
def test_bad_options_are_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=option):
        MixingOptions(**{option: value})


def test_codecs_may_not_be_more_probable_than_certain() -> None:
    with pytest.raises(ValueError, match=r"opus_prob \+ mp3_prob \+ g711_prob: expected at most 1 together, got 1\.2"):
        MixingOptions(opus_prob=0.4, mp3_prob=0.4, g711_prob=0.4)
    MixingOptions(opus_prob=0.4, mp3_prob=0.3, g711_prob=0.3, early_ms=None)


def test_options_that_are_off_change_no_draw(manifest_path: Path) -> None:
    """The settings of equipment that never occurs matter to no example."""
    settings = {"clipping_db": (-3.0, -1.0), "codec_kbps": (12.0, 13.0), "microphone_db": 20.0, "early_ms": 1.0}
    found = set()
    for options in (PLAIN, dataclasses.replace(PLAIN, **settings)):
        data = examples(manifest_path, dataclasses.replace(options, hum=0.5, offset=0.5, band_limit=0.5))
        digest = hashlib.sha256()
        for place in range(20):
            for signal in data[0, place]:
                digest.update(signal.numpy().tobytes())
        found.add(digest.hexdigest())
    assert len(found) == 1
