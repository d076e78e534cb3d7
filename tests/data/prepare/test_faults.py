"""Recordings that can be read, and are of no use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.prepare.batch import Conversion, convert_all
from lite_rtse_ext.data.prepare.faults import delay, pair_fault, silence
from tests.data.prepare.recordings import noise, put, voice

SECOND = np.ones(16_000, np.float32)
SILENT = {
    "zeros": (0 * SECOND, "PCM_16"),
    "zeros in float": (0 * SECOND, "FLOAT"),
    "far below 16 bits": (1e-8 * noise(1.0), "FLOAT"),
    "one step of 16 bits": (SECOND * (np.arange(16_000) % 2) / 32768, "PCM_16"),
    "constant": (0.3 * SECOND, "PCM_16"),
    "constant in float": (0.3 * SECOND, "DOUBLE"),
    "full scale": (-1.0 * SECOND, "PCM_16"),
}


@pytest.mark.parametrize("kind", SILENT)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_silence_is_named_and_left_out(tmp_path: Path, kind: str, rate: int) -> None:
    samples, subtype = SILENT[kind]
    assert silence(samples) is not None
    job = Conversion(put(tmp_path / "a.wav", samples, rate=rate, subtype=subtype), tmp_path / "out" / "a.flac")
    lines: list[str] = []
    assert convert_all([job], refuse=False, report=lines.append, workers=1) == [None]
    assert len(lines) == 1
    assert f"{job.source}: is " in lines[0]
    assert not job.target.exists()
    with pytest.raises(AudioError, match=r"is (silent|a constant)"):
        convert_all([job], refuse=True, report=lines.append, workers=1)


def test_soft_sound_and_clicks_are_no_silence() -> None:
    click = np.zeros(16_000, np.float32)
    click[8000] = 0.9
    impulse = np.roll(click, -8000)
    for samples in (click, impulse, 0.005 * noise(1.0), 0.3 + 0.01 * noise(1.0), voice(1.0)):
        assert silence(samples) is None


CLEAN, NOISE = voice(3.0), noise(3.0, seed=1)
PAIRS = {
    "silent noisy": (0 * CLEAN, CLEAN, "the noisy recording is silent"),
    "silent clean": (CLEAN, 0 * CLEAN, "the clean recording is silent"),
    "constant clean": (CLEAN, 0 * CLEAN + 0.5, "the clean recording is a constant"),
    "same": (CLEAN, CLEAN, "the noisy recording is the clean one"),
    "same but louder": (CLEAN, 0.3 * CLEAN, "the noisy recording is the clean one"),
    "same but an offset": (CLEAN, CLEAN + 0.1, "the noisy recording is the clean one"),
    "same but upside down": (CLEAN, -CLEAN, "the noisy recording is the clean one"),
    "same but rounded": (CLEAN, np.round(CLEAN * 32768) / 32768, "the noisy recording is the clean one"),
    "unrelated": (voice(3.0, seed=7), CLEAN, "the clean recording is not in the noisy one"),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_pairs_that_teach_nothing_are_told(kind: str) -> None:
    noisy, clean, message = PAIRS[kind]
    assert str(pair_fault(np.float32(noisy), np.float32(clean))).startswith(message)


@pytest.mark.parametrize("snr_db", [-10, -5, 0, 5, 10, 20, 30])
@pytest.mark.parametrize("level", [0.01, 0.1, 1.0, 3.0])
def test_noisy_recordings_are_told_from_clean_ones(snr_db: float, level: float) -> None:
    noisy = level * (CLEAN + NOISE * np.float32(np.std(CLEAN) / np.std(NOISE) * 10 ** (-snr_db / 20)))
    assert pair_fault(noisy, CLEAN) is None
    assert "swapped" in str(pair_fault(CLEAN, noisy))


def test_rooms_and_delays_are_no_faults() -> None:
    delayed = np.concatenate([np.zeros(300, np.float32), CLEAN[:-300]])
    assert pair_fault(delayed + 0.1 * NOISE, CLEAN) is None


@pytest.mark.parametrize("snr_db", [-10, 0, 20])
@pytest.mark.parametrize("late", [-1600, -300, -1, 0, 1, 8, 300, 1600])
def test_delays_are_found(late: int, snr_db: float) -> None:
    noisy = np.roll(CLEAN, late) + NOISE * np.float32(np.std(CLEAN) / np.std(NOISE) * 10 ** (-snr_db / 20))
    assert delay(noisy, CLEAN) == delay(0.1 - noisy, CLEAN) == late
