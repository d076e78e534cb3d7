"""Checks of arguments that several subpackages take. They need no torch, because the streaming engine needs none."""

from __future__ import annotations

import math
import numbers
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "LEAST_RATE_HZ",
    "MOST_CHANNELS",
    "MOST_RATE_HZ",
    "Real",
    "channel_count",
    "real_number",
    "sample_rate_hz",
    "switch",
]

Real: TypeAlias = "float | np.number[Any]"
"""A Python or numpy number."""

LEAST_RATE_HZ, MOST_RATE_HZ = 1000, 1_000_000
MOST_CHANNELS = 64
"""Maximum number of channels of a signal. The number is limited because each channel needs its own engine."""


def _plain(value: object) -> object:
    """Convert a numpy scalar to a Python one, and return all other values unchanged."""
    is_scalar = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return value.item() if is_scalar else value  # type: ignore[attr-defined]


def real_number(value: object, name: str, expected: str) -> float:
    """Convert a real number of any type to a float. A number beyond the range of floats becomes infinite.

    Args:
        value: the argument's value.
        name: the argument's name, for the message.
        expected: description of the allowed values, for the message.

    Raises:
        TypeError: the value is not a real number. A bool is rejected, too.
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, numbers.Real):
        raise TypeError(f"{name}: expected {expected}, got {value!r}")
    try:
        return float(plain)
    except OverflowError:  # of an integer or a fraction
        return -math.inf if plain < 0 else math.inf


def switch(value: object, name: str) -> bool:
    """Check a switch, a Python or numpy bool, and return it as a Python bool.

    Raises:
        TypeError: the value is neither True nor False.
    """
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return plain


def channel_count(value: object, name: str = "channels") -> int:
    """Convert a number of channels of any numeric type to an int.

    Raises:
        TypeError: the value is not a real number.
        ValueError: the value is not a whole number from 1 to :data:`MOST_CHANNELS`.
    """
    expected = f"a whole number from 1 to {MOST_CHANNELS}"
    number = real_number(value, name, expected)
    if not (1 <= number <= MOST_CHANNELS and number.is_integer()):
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return int(number)


def sample_rate_hz(
    value: object, name: str = "sample_rate", least: int = LEAST_RATE_HZ, most: int = MOST_RATE_HZ
) -> int:
    """Convert a sample rate of any numeric type to an int. 48000, 48000.0 and their numpy types are equivalent.

    Args:
        value: the argument's value, in Hz.
        name: the argument's name, for the message.
        least, most: lowest and highest accepted rate in Hz.

    Raises:
        TypeError: the value is not a real number. Bools and strings are rejected, too.
        ValueError: the value is not a whole number of Hz, or lies outside the accepted range.
    """
    expected = f"a whole number of Hz from {least} to {most}"
    number = real_number(value, name, expected)
    if not (least <= number <= most and number.is_integer()):
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return int(number)
