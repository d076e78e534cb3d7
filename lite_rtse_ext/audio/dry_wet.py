"""How much of the noisy signal remains in the output: the settings ``wet`` and ``attenuation_limit_db``."""

from __future__ import annotations

import math

from lite_rtse_ext.utils.arguments import real_number

__all__ = ["enhanced_share", "limit_db", "wet_share"]


def wet_share(value: object) -> float:
    """Check a value of ``wet``, the share of the enhanced signal in the output.

    Raises:
        TypeError: the value is not a real number.
        ValueError: the value is not from 0 to 1.
    """
    expected = "a share from 0 to 1"
    share = real_number(value, "wet", expected)
    if not 0 <= share <= 1:
        raise ValueError(f"wet: expected {expected}, got {value!r}")
    return share


def limit_db(value: object) -> float | None:
    """Check a value of ``attenuation_limit_db``, the maximum attenuation of the noise. None and infinity are no limit.

    Returns:
        The limit, or None for no limit.

    Raises:
        TypeError: the value is neither None nor a real number.
        ValueError: the value is negative or NaN.
    """
    if value is None:
        return None
    expected = "None or a number of dB from 0 up"
    limit = real_number(value, "attenuation_limit_db", expected)
    if not limit >= 0:
        raise ValueError(f"attenuation_limit_db: expected {expected}, got {value!r}")
    return None if math.isinf(limit) else limit


def enhanced_share(wet: float, attenuation_limit_db: float | None) -> float:
    """The share of the enhanced signal in the output. The rest is the noisy signal.

    A limit of L dB mixes in the noisy signal at -L dB, so that noise that the network removes remains at -L dB.
    """
    return wet * (1.0 if attenuation_limit_db is None else 1 - 10 ** (-attenuation_limit_db / 20))
