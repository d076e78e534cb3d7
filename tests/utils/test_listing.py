"""Lists in messages."""

from __future__ import annotations

from pathlib import Path

from lite_rtse_ext.utils.listing import listed


def test_the_first_names_are_told_and_the_number_of_the_others() -> None:
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"
    assert listed("abcdefg", most=6) == "a, b, c, d, e, f and 1 more"
    assert listed("abcde") == "a, b, c, d, e"
    assert listed(iter([Path("a"), 1])) == "a, 1"
    assert listed([]) == ""
