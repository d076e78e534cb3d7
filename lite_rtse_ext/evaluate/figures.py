"""All figures of a recording: those that need its clean one, if there is one, and those that need none."""

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
    """Every figure that can be computed, by name, and what stands in the way of the others.

    Args:
        estimate: the waveform to judge, ``(samples,)``, 16 kHz.
        clean: the clean one, if there is one.
        dnsmos: for opinions, if they are wanted.

    Raises:
        SilenceError: the estimate is silent or constant, so that it has no figure at all.
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
