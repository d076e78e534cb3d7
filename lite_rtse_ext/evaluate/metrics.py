"""The figures of one recording against its clean one, by libraries that others use too: torchmetrics, pesq, pystoi.

How to read them:

- SI-SNR counts a change of phase as an error. It does not know the level.
- PESQ depends on the silence in a recording: the same silence appended to both signals can raise it by a whole point.
  Figures here are over recordings at their own length.
- STOI has its useless end near 0.45, which unrelated noise gets, and not at 0. It leaves the pauses out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pesq
import pystoi
import torch
from numpy.typing import NDArray
from torchmetrics.functional.audio import scale_invariant_signal_noise_ratio

from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = [
    "DIGITS",
    "METRICS",
    "UNITS",
    "MetricError",
    "SilenceError",
    "measure",
    "require_noise",
    "require_sound",
]

_Samples = NDArray[np.float32]

MOST_SI_SNR_DB = 60.0
"""A noisy recording beyond it can't be told from its clean one: samples of 16 bits end not far above."""

_SOFTEST = 1e-7
"""Peak beside the mean, 140 dB below full scale, up to which a signal is silent."""

_ROUNDING = 1e-6
"""The same, as a share of the largest sample: what is left of a constant in float32."""


class MetricError(ValueError):
    """A metric that can't be computed for a recording. The message says which and why."""


class SilenceError(MetricError):
    """The estimate is silent, or constant: no metric has anything to say of it."""


def _si_snr(estimate: _Samples, clean: _Samples) -> float:
    value = scale_invariant_signal_noise_ratio(torch.from_numpy(estimate).double(), torch.from_numpy(clean).double())
    return float(value)


def _pesq(estimate: _Samples, clean: _Samples) -> float:
    return float(pesq.pesq(SAMPLE_RATE_HZ, clean, estimate, "wb"))


def _stoi(estimate: _Samples, clean: _Samples) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi returns 1e-5 with a warning where it has too little
        return float(pystoi.stoi(clean, estimate, SAMPLE_RATE_HZ))


METRICS: dict[str, Callable[[_Samples, _Samples], float]] = {"si_snr": _si_snr, "pesq": _pesq, "stoi": _stoi}
"""By name: a function of estimate and clean waveform, ``(samples,)`` at 16 kHz."""

UNITS = {
    "si_snr": "SI-SNR in dB",
    "pesq": "PESQ (wide band)",
    "stoi": "STOI",
    "dnsmos_sig": "DNSMOS SIG",
    "dnsmos_bak": "DNSMOS BAK",
    "dnsmos_ovrl": "DNSMOS OVRL",
    "dnsmos_p808": "DNSMOS P.808",
}
"""What each figure is called in tables; their order is that of all tables."""

DIGITS = dict.fromkeys(UNITS, 2) | {"stoi": 3}
"""Digits behind the point in tables."""


def require_sound(estimate: _Samples) -> None:
    """Nothing, if the estimate holds any sound.

    Raises:
        SilenceError: it is silent or constant.
    """
    if _is_silent(estimate):
        raise SilenceError("the estimate is silent, or constant")


def require_noise(noisy: _Samples, clean: _Samples) -> None:
    """Nothing, if there is noise in the noisy recording, so that there is something to gain.

    Raises:
        MetricError: the two can't be told apart, or either is silent.
    """
    si_snr_db = measure("si_snr", noisy, clean)
    if si_snr_db > MOST_SI_SNR_DB:
        raise MetricError(
            f"the noisy recording is the clean one: expected an SI-SNR of at most {MOST_SI_SNR_DB:g} dB, "
            f"got {si_snr_db:.0f} dB"
        )


def measure(name: str, estimate: _Samples, clean: _Samples) -> float:
    """A metric of a recording.

    Args:
        name: si_snr, pesq or stoi.
        estimate: the waveform to judge, ``(samples,)``, 16 kHz.
        clean: the clean one, as long.

    Raises:
        SilenceError: the estimate is silent or constant.
        MetricError: the metric can't be computed, as the clean recording is silent or either is too short, say.
    """
    if estimate.shape != clean.shape:
        raise MetricError(f"{name}: expected recordings of one length, got {len(estimate)} and {len(clean)} samples")
    if _is_silent(clean):
        raise MetricError(f"{name}: the clean recording is silent, or constant")
    if _is_silent(estimate):
        raise SilenceError(f"{name}: the estimate is silent, or constant")
    try:
        value = METRICS[name](estimate, clean)
    except (pesq.PesqError, RuntimeWarning, ValueError, ZeroDivisionError) as error:
        raise MetricError(f"{name}: {_reason(error)}") from error
    if not np.isfinite(value):
        raise MetricError(f"{name}: expected a finite figure, got {value}")
    return value


def _is_silent(samples: _Samples) -> bool:
    """Whether nothing is left once the mean is taken out. NaN is no silence."""
    if not samples.size:
        return True
    exact = samples.astype(np.float64)
    beside_the_mean = np.abs(exact - exact.mean()).max()
    return bool(beside_the_mean <= max(_SOFTEST, _ROUNDING * np.abs(exact).max()))


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    text = reason.decode() if isinstance(reason, bytes) else " ".join(str(reason).split())
    if "NaN" in text:  # where PESQ finds no power in a signal, at its 16 bits
        return "one of the recordings is silent beside the other"
    return text or type(error).__name__
