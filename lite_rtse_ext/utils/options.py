"""Types of options. The annotation of an option defines its allowed values, which the option's class checks.

An option class is a pydantic dataclass with :data:`STRICT`. It rejects unknown names, text in place of numbers, NaN,
and numbers outside their limits. Wide limits, such as 1e9, keep every result within the range of a float.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

__all__ = [
    "STRICT",
    "Count",
    "Decibels",
    "Flag",
    "NonNegative",
    "Ordered",
    "Positive",
    "Probability",
    "Share",
    "SomePositive",
    "Text",
    "Whole",
    "explain",
]

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

_MOST = 10**9


def _ordered(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    if pair[0] > pair[1]:
        raise ValueError(f"expected a range from low to high, got {list(pair)}")
    return pair


def _some_positive(weights: tuple[float, ...]) -> tuple[float, ...]:
    if not any(weights):
        raise ValueError(f"expected at least one above 0, got {list(weights)}")
    return weights


Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
Whole = Annotated[int, Field(strict=True, ge=0, le=_MOST)]
Count = Annotated[int, Field(strict=True, ge=1, le=_MOST)]
_Number = Annotated[float, Field(strict=True)]
NonNegative = Annotated[_Number, Field(ge=0, le=_MOST)]
Positive = Annotated[_Number, Field(ge=1 / _MOST, le=_MOST)]
Probability = Annotated[_Number, Field(ge=0, le=1)]
Share = Annotated[_Number, Field(ge=0, lt=1)]
Decibels = Annotated[_Number, Field(ge=-100, le=100)]
Ordered = AfterValidator(_ordered)
"""For a pair: the first number must not be greater than the second."""
SomePositive = AfterValidator(_some_positive)
"""For weights: at least one must be above 0."""


def explain(error: ValidationError, what: str = "") -> str:
    """Describe pydantic's error in one line: the name of each rejected option, its allowed values and its value.

    Args:
        error: the error of an option class or of a TypeAdapter of one.
        what: name of the checked object, for errors that concern the object as a whole.
    """
    return "; ".join(_explain(each["loc"], each["type"], each["msg"], each["input"], what) for each in error.errors())


def _explain(place: tuple[int | str, ...], kind: str, message: str, value: object, what: str) -> str:
    name = ".".join(map(str, place)) or what
    if kind == "unexpected_keyword_argument":
        return f"{name}: there is no such option"
    if kind == "missing":
        return f"{name}: is missing"
    if kind == "value_error":
        return f"{name}: {message.removeprefix('Value error, ')}"
    expected = message.replace("Input should be", "expected").replace("Tuple should have", "expected")
    return f"{name}: {expected.partition(' after validation')[0]}, got {value!r}"
