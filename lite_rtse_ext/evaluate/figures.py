"""All metrics of a recording: those that need a clean reference, if there is one, and those that need none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.evaluate.dnsmos import Dnsmos
from lite_rtse_ext.evaluate.metrics import METRICS, MetricError, measure, require_sound

__all__ = ["figures"]

_Samples = NDArray[np.float32]


def figures(
    estimate: _Samples, clean: _Samples | None, dnsmos: Dnsmos | None
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Compute all metrics of a recording.

    Args:
        estimate: the waveform to judge, ``(samples,)``, float32, 16 kHz.
        clean: the clean waveform of the same shape, or None if there is none.
        dnsmos: computes the DNSMOS scores; None omits them.

    Returns:
        The metrics that could be computed, by name, and an error message for each of the others.

    Raises:
        SilenceError: the estimate is silent or constant, so that it has no metric at all.
    """
    require_sound(estimate)
    found = {} if dnsmos is None else dnsmos(estimate)
    errors = []
    if clean is not None:
        for name in METRICS:
            try:
                found[name] = measure(name, estimate, clean)
            except MetricError as error:
                errors.append(str(error))
    return found, tuple(errors)
