"""Checks of arguments that several parts of the package take. Needs no torch, as the streaming engine needs none."""

from __future__ import annotations

import numbers
from typing import Any, TypeAlias

import numpy as np

__all__ = ["LEAST_RATE_HZ", "MOST_RATE_HZ", "Real", "real_number", "sample_rate_hz", "switch"]

Real: TypeAlias = "float | np.number[Any]"
"""A number of Python's or of numpy's."""

LEAST_RATE_HZ, MOST_RATE_HZ = 1000, 1_000_000


def _plain(value: object) -> object:
    """A number of numpy's as one of Python's; everything else as it is."""
    is_scalar = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return value.item() if is_scalar else value  # type: ignore[attr-defined]


def real_number(value: object, name: str, expected: str) -> float:
    """A number of any type as a float.

    Args:
        value: what was given.
        name: of the argument, for the message.
        expected: what it must be, for the message.

    Raises:
        TypeError: the value is no real number. A bool is none.
    """
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, numbers.Real):
        raise TypeError(f"{name}: expected {expected}, got {value!r}")
    return float(plain)


def switch(value: object, name: str) -> bool:
    """Something that is on or off.

    Raises:
        TypeError: the value is neither True nor False.
    """
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return plain


def sample_rate_hz(
    value: object, name: str = "sample_rate", least: int = LEAST_RATE_HZ, most: int = MOST_RATE_HZ
) -> int:
    """A sample rate of any numeric type as an int: 48000, 48000.0 and numpy's of both are the same.

    Args:
        value: what was given.
        name: of the argument, for the message.
        least, most: which rates are accepted.

    Raises:
        TypeError: the value is no real number. A bool and a string are none.
        ValueError: it is no whole number of Hz, or lies outside the accepted range.
    """
    expected = f"a whole number of Hz from {least} to {most}"
    number = real_number(value, name, expected)
    if not (least <= number <= most and number.is_integer()):
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return int(number)
