"""Metrics of one recording against its clean reference, by public libraries: torchmetrics, pesq, pystoi.

How to read them:

- SI-SNR counts a change of phase as an error. It does not depend on the level.
- PESQ depends on the silence in a recording. The same silence appended to both signals can raise it by a whole point.
  Here the recordings are measured at their own length.
- The lower end of STOI is near 0.45, the value of unrelated noise, and not 0. STOI ignores pauses.
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
"""A noisy recording with a higher SI-SNR counts as equal to its clean one. 16-bit samples reach little more."""

_SOFTEST = 1e-7
"""A signal is silent if no sample deviates from the mean by more than this. It is 140 dB below full scale."""

_ROUNDING = 1e-6
"""The same limit relative to the largest absolute sample. A constant deviates by this much in float32."""


class MetricError(ValueError):
    """A metric cannot be computed for a recording. The message says which and why."""


class SilenceError(MetricError):
    """The estimate is silent or constant, so that no metric can be computed."""


def _si_snr(estimate: _Samples, clean: _Samples) -> float:
    value = scale_invariant_signal_noise_ratio(torch.from_numpy(estimate).double(), torch.from_numpy(clean).double())
    return float(value)


def _pesq(estimate: _Samples, clean: _Samples) -> float:
    return float(pesq.pesq(SAMPLE_RATE_HZ, clean, estimate, "wb"))


def _stoi(estimate: _Samples, clean: _Samples) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi returns 1e-5 with a warning if speech is too short
        return float(pystoi.stoi(clean, estimate, SAMPLE_RATE_HZ))


METRICS: dict[str, Callable[[_Samples, _Samples], float]] = {"si_snr": _si_snr, "pesq": _pesq, "stoi": _stoi}
"""Metrics by name: functions of the estimate and the clean waveform, both ``(samples,)``, float32, 16 kHz."""

UNITS = {
    "si_snr": "SI-SNR in dB",
    "pesq": "PESQ (wide band)",
    "stoi": "STOI",
    "dnsmos_sig": "DNSMOS SIG",
    "dnsmos_bak": "DNSMOS BAK",
    "dnsmos_ovrl": "DNSMOS OVRL",
    "dnsmos_p808": "DNSMOS P.808",
}
"""Title of each metric in tables. The order is that of all tables."""

DIGITS = dict.fromkeys(UNITS, 2) | {"stoi": 3}
"""Decimal places of each metric in tables."""


def require_sound(estimate: _Samples) -> None:
    """Check that the estimate is not silent.

    Raises:
        SilenceError: the estimate is silent or constant.
    """
    if _is_silent(estimate):
        raise SilenceError("the estimate is silent, or constant")


def require_noise(noisy: _Samples, clean: _Samples) -> None:
    """Check that the noisy recording contains noise, so that an improvement is possible.

    Raises:
        MetricError: the two recordings differ too little, or one of them is silent.
    """
    si_snr_db = measure("si_snr", noisy, clean)
    if si_snr_db > MOST_SI_SNR_DB:
        raise MetricError(
            f"the noisy recording is the clean one: expected an SI-SNR of at most {MOST_SI_SNR_DB:g} dB, "
            f"got {si_snr_db:.0f} dB"
        )


def measure(name: str, estimate: _Samples, clean: _Samples) -> float:
    """Compute a metric of a recording.

    Args:
        name: si_snr, pesq or stoi.
        estimate: the waveform to judge, ``(samples,)``, float32, 16 kHz.
        clean: the clean waveform of the same shape.

    Returns:
        The metric: SI-SNR in dB, PESQ (wide band), or STOI.

    Raises:
        SilenceError: the estimate is silent or constant.
        MetricError: the metric cannot be computed. For example, the clean recording is silent, or both are too short.
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
    """Return whether the signal is silent once its mean is subtracted. A signal with NaN is not silent."""
    if not samples.size:
        return True
    exact = samples.astype(np.float64)
    beside_the_mean = np.abs(exact - exact.mean()).max()
    return bool(beside_the_mean <= max(_SOFTEST, _ROUNDING * np.abs(exact).max()))


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    text = reason.decode() if isinstance(reason, bytes) else " ".join(str(reason).split())
    if "NaN" in text:  # PESQ rounds to 16 bits and then finds no power in a signal
        return "one of the recordings is silent beside the other"
    return text or type(error).__name__
