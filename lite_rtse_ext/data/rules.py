"""Rules for the fields of a manifest. People download manifests, so nothing in them is trusted."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "ManifestError",
    "Rule",
    "any_of",
    "check_fields",
    "file",
    "name",
    "number",
    "optional",
    "shown",
    "text",
    "whole",
]

_MOST_FRAMES = 2**40
_MOST_DB = 200.0
_MOST_NAME_BYTES = 240
_SEPARATORS = "/\\"


class ManifestError(ValueError):
    """A file is not a manifest, or data differ from what their manifest says. The message names the file."""


@dataclass(frozen=True)
class Rule:
    """A rule for the value of a field.

    Args:
        expected: the rule in words, for an error message.
        holds: function that returns whether a value obeys the rule.
    """

    expected: str
    holds: Callable[[object], bool]


def check_fields(entry: object, **rules: Rule) -> None:
    """Check fields of an object.

    Args:
        entry: the object.
        rules: a rule for each field, by the field's name.

    Raises:
        ManifestError: a field breaks its rule. The message names the field.
    """
    for field, rule in rules.items():
        value = getattr(entry, field)
        if not rule.holds(value):
            raise ManifestError(f"{field}: expected {rule.expected}, got {shown(value)}")


def any_of(allowed: tuple[str, ...]) -> Rule:
    """Return a rule that allows some words."""
    return Rule(f"one of {', '.join(allowed)}", lambda value: isinstance(value, str) and value in allowed)


def whole(at_least: int) -> Rule:
    """Return a rule that allows whole numbers from ``at_least`` to the largest length of a recording, 2^40 samples."""

    def holds(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and at_least <= value <= _MOST_FRAMES

    return Rule(f"a whole number, {at_least} to {_MOST_FRAMES}", holds)


def optional(rule: Rule) -> Rule:
    """Return a rule that allows None and all that another rule allows."""
    return Rule(f"{rule.expected}, or nothing", lambda value: value is None or rule.holds(value))


def shown(value: object) -> str:
    """Return a value as an error message shows it: short, and in one line."""
    return reprlib.repr(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MOST_DB


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 can't encode
        return False
    return not any(ord(character) < 32 or ord(character) == 127 for character in value)


def _is_name(value: object) -> bool:
    return (
        isinstance(value, str)
        and _is_text(value)
        and 0 < len(value.encode()) <= _MOST_NAME_BYTES
        and not any(separator in value for separator in _SEPARATORS)
        and value not in (".", "..")
    )


def _is_file(value: object) -> bool:
    """Whether every part of a path is a name. Such a path is relative and stays in the manifest's folder."""
    if not isinstance(value, str) or not _is_text(value) or "\\" in value:
        return False
    return all(part not in ("", ".", "..") for part in value.split("/"))


number = Rule(f"a number, {-_MOST_DB:g} to {_MOST_DB:g}", _is_number)
text = Rule("text without control characters", _is_text)
name = Rule(f"a name of 1 to {_MOST_NAME_BYTES} bytes without slashes or control characters", _is_name)
file = Rule("a path with forward slashes that stays in the manifest's folder", _is_file)
