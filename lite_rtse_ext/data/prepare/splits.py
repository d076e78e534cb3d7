"""Which recordings train, which validate and which test: no voice on two sides, and no recording where that can be.

A name alone decides as far as possible, so that recordings that are added move few others.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

__all__ = ["UNKNOWN", "Shares", "assign", "divide_noise", "divide_speech", "speakers_of", "stretches"]

UNKNOWN = "unknown"

Splits = tuple[str, ...]


@dataclass(frozen=True)
class Shares:
    """Shares of the recordings, or of a recording, that are kept for validation and test; the rest is for training.

    Args:
        valid: 0 to 1.
        test: 0 to 1.
    """

    valid: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        if not (min(self.valid, self.test) >= 0 and self.valid + self.test < 1):
            raise ValueError(
                f"valid_share and test_share must leave something to train on, but are {self.valid} and {self.test}"
            )

    @property
    def held_out(self) -> dict[str, float]:
        """The splits that are wanted besides training, and their shares."""
        return {split: share for split, share in (("valid", self.valid), ("test", self.test)) if share > 0}

    @property
    def splits(self) -> Splits:
        """All splits that are wanted."""
        return ("train", *self.held_out)


def assign(sizes: Mapping[str, int], shares: Shares) -> dict[str, str]:
    """A split for each of some units, of which there must be as many as splits.

    A large unit is trained on. The hash of a name decides about the others; but every split gets at least half of its
    share of them, and one, and at most twice its share.
    """
    trained = _large(sizes)
    order = sorted((unit for unit in sizes if unit != trained), key=_place)
    counts, lower = {}, 0.0
    for split, share in shares.held_out.items():
        hits = sum(lower <= _place(unit) < lower + share for unit in order)
        expected = share * len(sizes)
        counts[split] = min(max(hits, 1, round(expected / 2)), max(1, math.ceil(2 * expected)))
        lower += share
    while sum(counts.values()) > len(order):
        counts[max(counts, key=lambda split: counts[split])] -= 1
    found, waiting = dict.fromkeys(sizes, "train"), iter(order)
    for split, count in counts.items():
        found.update((unit, split) for _, unit in zip(range(count), waiting, strict=False))
    return found


def _large(sizes: Mapping[str, int]) -> str:
    """One of the units that are half as large as the largest, at least: the same one though some grow a little."""
    largest = max(sizes.values())
    return max((unit for unit in sizes if 2 * sizes[unit] >= largest), key=_place)


def _place(unit: str) -> float:
    """The hash of a name as a number between 0 and 1."""
    return int.from_bytes(hashlib.sha256(os.fsencode(unit)).digest()[:8], "big") / 2**64


def divide_speech(
    voices: Mapping[PurePath, str], sizes: Mapping[PurePath, int], shares: Shares
) -> tuple[dict[PurePath, Splits], str]:
    """The splits that each recording of speech is for, and the rule that decided, in words.

    By speaker if there are as many as splits. Of two speakers one is trained on, the other one validates and tests. One
    speaker is divided by recording; and a recording is cut only if there are fewer of them than splits.

    Args:
        voices: the speaker of each recording.
        sizes: the length of each recording.
        shares: of validation and test.
    """
    totals: dict[str, int] = {}
    for name, voice in voices.items():
        totals[voice] = totals.get(voice, 0) + sizes[name]
    if len(totals) >= len(shares.splits):
        split_of = assign(totals, shares)
        return {name: (split_of[voice],) for name, voice in voices.items()}, f"by speaker, of {len(totals)}"
    if len(totals) == 1:
        return _by_recording(sizes, shares)
    trained = _large(totals)
    held_out = {name: size for name, size in sizes.items() if voices[name] != trained}
    apart, _ = _by_recording(held_out, Shares(shares.valid / (shares.valid + shares.test), 0.0))
    renamed = {"valid": "valid", "train": "test"}
    found: dict[PurePath, Splits] = dict.fromkeys(voices, ("train",))
    found |= {name: tuple(renamed[split] for split in splits) for name, splits in apart.items()}
    return found, f"by speaker, of two: {trained} is trained on, the other one validates and tests"


def _by_recording(sizes: Mapping[PurePath, int], shares: Shares) -> tuple[dict[PurePath, Splits], str]:
    if len(sizes) >= len(shares.splits):
        return _assigned(sizes, shares), "by recording, with no speakers told apart: a voice may be in several splits"
    return dict.fromkeys(sizes, shares.splits), "by cutting each of so few recordings: a voice is in several splits"


def _assigned(sizes: Mapping[PurePath, int], shares: Shares) -> dict[PurePath, Splits]:
    found = assign({name.as_posix(): size for name, size in sizes.items()}, shares)
    return {name: (found[name.as_posix()],) for name in sizes}


def divide_noise(
    kinds: Mapping[PurePath, str], sizes: Mapping[PurePath, int], shares: Shares, cut_from: int
) -> dict[PurePath, Splits]:
    """The splits that each recording of noise is for.

    Kinds with so many recordings that a share is one of them are divided by recording. Other recordings are cut if they
    are long; the short ones are divided by recording, all kinds together, and cut only if a split had no noise
    otherwise.

    Args:
        kinds: the kind of each recording.
        sizes: the length of each recording.
        shares: of validation and test.
        cut_from: the length of a long recording.
    """
    many = max(len(shares.splits), *(math.ceil(1 / share) for share in shares.held_out.values()), 1)
    found: dict[PurePath, Splits] = {}
    rest: dict[PurePath, int] = {}
    for kind in sorted(set(kinds.values())):
        own = {name: sizes[name] for name in kinds if kinds[name] == kind}
        if len(own) >= many:
            found |= _assigned(own, shares)
            continue
        found |= {name: shares.splits for name, size in own.items() if size >= cut_from}
        rest |= {name: size for name, size in own.items() if size < cut_from}
    if len(rest) >= len(shares.splits):
        return found | _assigned(rest, shares)
    return found | dict.fromkeys(rest, ("train",) if found else shares.splits)


def stretches(frames: int, splits: Splits, shares: Shares, least: int) -> dict[str, tuple[int, int]]:
    """Where a recording is cut for its splits: first and last sample for each, training first; none is empty.

    What is held out is ``least`` samples long at least, unless that were more than a quarter of the recording. Without
    training, the recording is divided in proportion to the shares.
    """
    first, *others = splits
    if first == "train":
        lengths = {split: max(round(shares.held_out[split] * frames), min(least, frames // 4)) for split in others}
    else:
        whole = sum(shares.held_out[split] for split in splits)
        lengths = {split: int(shares.held_out[split] / whole * frames) for split in others}
    bounds, start = {}, 0
    for split, length in {first: frames - sum(lengths.values()), **lengths}.items():
        if length:
            bounds[split] = (start, start + length)
        start += length
    return bounds


def speakers_of(names: Sequence[PurePath]) -> tuple[dict[PurePath, str], str]:
    """Who speaks in each file, by the folders that it lies in, and the rule, in words.

    A folder that all files lie in tells nobody apart. If each file has the name of one of its folders in front of its
    own, as in LibriSpeech and VCTK, that folder is the speaker; else it is the first one.
    """
    common = len(PurePath(os.path.commonpath([PurePath("top", name.parent) for name in names])).parts) - 1
    parts = {name: name.parts[common:] for name in names}
    named = {name: _named_after(part) for name, part in parts.items()}
    if all(voice is not None for voice in named.values()) and len(set(named.values())) > 1:
        voices = {name: str(voice) for name, voice in named.items()}
        return voices, "the folder whose name begins the file's name is the speaker"
    first = {name: part[0] if len(part) > 1 else UNKNOWN for name, part in parts.items()}
    if len(set(first.values())) > 1:
        return first, "the first sub-folder is the speaker"
    alone = names[0].parts[common - 1] if common else UNKNOWN
    return dict.fromkeys(names, alone), "no sub-folders tell speakers apart"


def _named_after(parts: tuple[str, ...]) -> str | None:
    """The first folder whose name the file's name begins with."""
    stem = PurePath(parts[-1]).stem
    return next((folder for folder in parts[:-1] if re.match(rf"{re.escape(folder)}(?![0-9A-Za-z])", stem)), None)
