"""What enhancement leaves behind and takes away, counted: noise in pauses, how it comes and goes, holes in speech.

They describe a suppressor beside its metrics; none of them is a measure of quality. All are counted on spectrograms
S, N, Y = S + N and E of clean speech, noise, the noisy recording and the enhanced one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lite_rtse_ext.audio.spectrogram import stft

__all__ = ["Artefacts", "count"]

_Samples = NDArray[np.float32]
_FLOOR = 1e-12
_PAUSE_DB = 45.0
_FEWEST_PAUSES = 10
_BINS_IN_PAUSES = slice(8, 200)
"""250 Hz to 6.2 kHz: below there is hum, above there is nothing in band-limited recordings."""

_TREBLE_BIN = 64
"""2 kHz."""

_LOUD_FRAME_DB, _STRONG_DB, _CLEAR_DB, _HOLE_DB = 30.0, 25.0, 10.0, 12.0


class Artefacts(NamedTuple):
    """Of one recording; the first two are NaN where it has no pauses.

    Args:
        softer_db: how much softer the noise in pauses is; pauses are frames 45 dB below the loudest of S.
        restless: kurtosis of the noise's power over the pauses, ⟨|E|⁴⟩ / ⟨|E|²⟩² a bin, mean of all bins, over that
            of Y. 1: it sounds as before, only softer. Far above: it comes and goes, as musical noise does.
        bass_holes: below 2 kHz, of the strong and clear parts of speech the share that comes out more than 12 dB too
            soft once the levels of E and S are matched there, for SI-SNR and PESQ know no level either; in percent; NaN
            where there are none. Strong: within 25 dB of the bin's loudest moment, in frames
            within 30 dB of the loudest. Clear: S at least 10 dB above N there.
        treble_holes: the same from 2 kHz on.
    """

    softer_db: float
    restless: float
    bass_holes: float
    treble_holes: float


def count(noisy: _Samples, clean: _Samples, enhanced: _Samples) -> Artefacts:
    """The artefacts of a recording.

    Args:
        noisy, clean, enhanced: waveforms ``(samples,)``, 16 kHz, in time with each other.
    """
    speech, noise, before, after = (_power(samples) for samples in (clean, noisy - clean, noisy, enhanced))
    level_db = _db(speech.sum(0))
    pause = level_db < level_db.max() - _PAUSE_DB
    softer_db, restless = np.nan, np.nan
    if pause.sum() >= _FEWEST_PAUSES:
        softer_db = float(_db(before[:, pause].sum()) - _db(after[:, pause].sum()))
        restless = _kurtosis(after[_BINS_IN_PAUSES, pause]) / _kurtosis(before[_BINS_IN_PAUSES, pause])
    strong = (_db(speech) > _db(speech.max(1, keepdims=True)) - _STRONG_DB) & (
        level_db > level_db.max() - _LOUD_FRAME_DB
    )
    clear = strong & (_db(speech) - _db(noise) > _CLEAR_DB)
    gains_db = _db(after) - _db(speech)
    scale = np.sqrt(speech * after)[clear].sum() / max(speech[clear].sum(), _FLOOR)  # of |E| over |S|, by least squares
    usual_db = _db(np.maximum(scale**2, _FLOOR))
    hole = clear & (gains_db < usual_db - _HOLE_DB)
    bass, treble = slice(None, _TREBLE_BIN), slice(_TREBLE_BIN, None)
    return Artefacts(softer_db, restless, *(_percent(hole[bins], clear[bins]) for bins in (bass, treble)))


def _power(samples: _Samples) -> NDArray[np.float64]:
    power: NDArray[np.float64] = stft(torch.from_numpy(samples)).abs().double().square().numpy() + _FLOOR
    return power


def _db(power: NDArray[np.float64]) -> NDArray[np.float64]:
    decibels: NDArray[np.float64] = 10 * np.log10(power)
    return decibels


def _percent(part: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return 100 * float(part.sum() / of.sum()) if of.any() else np.nan


def _kurtosis(power: NDArray[np.float64]) -> float:
    return float(np.mean((power**2).mean(1) / power.mean(1) ** 2))
