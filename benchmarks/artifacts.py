"""Artifacts of enhancement: noise reduction in pauses, kurtosis ratio (musical noise), and speech over-suppression.

They describe a suppressor in addition to its metrics. None of them is a measure of quality. All are computed from the
spectrograms S, N, Y = S + N and E of clean speech, noise, noisy recording and enhanced recording.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lite_rtse_ext.audio.spectrogram import stft

__all__ = ["Artifacts", "count"]

_Samples = NDArray[np.float32]
_FLOOR = 1e-12
_PAUSE_DB = 45.0
_FEWEST_PAUSES = 10
_BINS_IN_PAUSES = slice(8, 200)
"""250 Hz to 6.2 kHz. Hum lies below, and band-limited recordings are empty above."""

_TREBLE_BIN = 64
"""2 kHz."""

_LOUD_FRAME_DB, _STRONG_DB, _CLEAR_DB, _SUPPRESSED_DB = 30.0, 25.0, 10.0, 12.0


class Artifacts(NamedTuple):
    """Artifacts of one recording. The first two are NaN if it has no pauses.

    Args:
        noise_reduction_db: attenuation of the noise in pauses, in dB. Pauses are frames over 45 dB below the loudest of
            S.
        kurtosis_ratio: of the noise in pauses. The kurtosis of a bin is ⟨|E|⁴⟩ / ⟨|E|²⟩² over the pauses. The mean over
            all bins is divided by that of Y. At 1 the noise keeps its character. Values far above 1 mean that its level
            fluctuates, as in musical noise.
        over_suppression_bass: speech over-suppression below 2 kHz, in percent. It is the share of the strong and clear
            time-frequency bins that are attenuated by more than 12 dB. NaN if there are no such bins. A bin of S is
            strong if it is within 25 dB of the maximum at its frequency and its frame is within 30 dB of the loudest.
            It is clear if S is more than 10 dB above N. The levels of E and S in the clear bins are matched first:
            SI-SNR and PESQ do not depend on the level either.
        over_suppression_treble: speech over-suppression from 2 kHz on, likewise.
    """

    noise_reduction_db: float
    kurtosis_ratio: float
    over_suppression_bass: float
    over_suppression_treble: float


def count(noisy: _Samples, clean: _Samples, enhanced: _Samples) -> Artifacts:
    """Compute the artifacts of a recording.

    Args:
        noisy, clean, enhanced: aligned waveforms ``(samples,)``, float32, 16 kHz.
    """
    speech, noise, before, after = (_power(samples) for samples in (clean, noisy - clean, noisy, enhanced))
    level_db = _db(speech.sum(0))
    pause = level_db < level_db.max() - _PAUSE_DB
    noise_reduction_db, kurtosis_ratio = np.nan, np.nan
    if pause.sum() >= _FEWEST_PAUSES:
        noise_reduction_db = float(_db(before[:, pause].sum()) - _db(after[:, pause].sum()))
        kurtosis_ratio = _kurtosis(after[_BINS_IN_PAUSES, pause]) / _kurtosis(before[_BINS_IN_PAUSES, pause])
    strong = (_db(speech) > _db(speech.max(1, keepdims=True)) - _STRONG_DB) & (
        level_db > level_db.max() - _LOUD_FRAME_DB
    )
    clear = strong & (_db(speech) - _db(noise) > _CLEAR_DB)
    gains_db = _db(after) - _db(speech)
    scale = np.sqrt(speech * after)[clear].sum() / max(speech[clear].sum(), _FLOOR)  # of |E| to |S|, by least squares
    usual_db = _db(np.maximum(scale**2, _FLOOR))
    suppressed = clear & (gains_db < usual_db - _SUPPRESSED_DB)
    bass, treble = slice(None, _TREBLE_BIN), slice(_TREBLE_BIN, None)
    return Artifacts(
        noise_reduction_db, kurtosis_ratio, *(_percent(suppressed[bins], clear[bins]) for bins in (bass, treble))
    )


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
