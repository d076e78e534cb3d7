"""The figures of one recording, by libraries that others use too: torchmetrics (SI-SNR), pesq, pystoi."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pesq
import pystoi
import torch
from numpy.typing import NDArray
from torchmetrics.functional.audio import scale_invariant_signal_noise_ratio

from lite_rtse_ext.audio.stft import SAMPLE_RATE_HZ

__all__ = ["METRICS", "UNITS", "MetricError", "measure"]

_Samples = NDArray[np.float32]


class MetricError(ValueError):
    """A metric that can't be computed for a recording; the message says which and why."""


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

UNITS = {"si_snr": "SI-SNR in dB", "pesq": "PESQ (wide band)", "stoi": "STOI"}


def measure(name: str, estimate: _Samples, clean: _Samples) -> float:
    """A metric of a recording.

    Args:
        name: si_snr, pesq or stoi.
        estimate: the waveform to judge, ``(samples,)``, 16 kHz.
        clean: the clean one.

    Raises:
        MetricError: it can't be computed, as the recording is silent or too short, say.
    """
    if not clean.any():
        raise MetricError(f"{name}: the clean recording is silent")
    try:
        value = METRICS[name](estimate, clean)
    except (pesq.PesqError, RuntimeWarning, ValueError, ZeroDivisionError) as error:
        reason = error.args[0] if error.args else error
        text = reason.decode() if isinstance(reason, bytes) else " ".join(str(reason).split())
        raise MetricError(f"{name}: {text or type(error).__name__}") from error
    if not np.isfinite(value):
        raise MetricError(f"{name}: is {value}")
    return value
