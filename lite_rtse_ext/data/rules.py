"""What the fields of a manifest may hold. A manifest is data that people download, so that nothing in it is trusted."""

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
    """A file that is no manifest, or data that is not what its manifest says. The message names the file."""


@dataclass(frozen=True)
class Rule:
    """What a field may hold: in words, and as a test."""

    expected: str
    holds: Callable[[object], bool]


def check_fields(entry: object, **rules: Rule) -> None:
    """Look at fields of an object.

    Raises:
        ManifestError: one breaks its rule; names the field.
    """
    for field, rule in rules.items():
        value = getattr(entry, field)
        if not rule.holds(value):
            raise ManifestError(f"{field}: expected {rule.expected}, got {shown(value)}")


def any_of(allowed: tuple[str, ...]) -> Rule:
    """One of some words."""
    return Rule(f"one of {', '.join(allowed)}", lambda value: isinstance(value, str) and value in allowed)


def whole(at_least: int) -> Rule:
    """A whole number, from ``at_least`` to what a recording can hold."""

    def holds(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and at_least <= value <= _MOST_FRAMES

    return Rule(f"a whole number, {at_least} to {_MOST_FRAMES}", holds)


def optional(rule: Rule) -> Rule:
    """The same, or nothing."""
    return Rule(f"{rule.expected}, or nothing", lambda value: value is None or rule.holds(value))


def shown(value: object) -> str:
    """A value as an error shows it: short, and in one line."""
    return reprlib.repr(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MOST_DB


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character: such text can't be written anywhere
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
    """Every part of the path is a name: so it is relative, and does not leave the folder of the manifest."""
    if not isinstance(value, str) or not _is_text(value) or "\\" in value:
        return False
    return all(part not in ("", ".", "..") for part in value.split("/"))


number = Rule(f"a number, {-_MOST_DB:g} to {_MOST_DB:g}", _is_number)
text = Rule("text without control characters", _is_text)
name = Rule(f"a name of 1 to {_MOST_NAME_BYTES} bytes without slashes or control characters", _is_name)
file = Rule("a path with forward slashes that stays in the manifest's folder", _is_file)
