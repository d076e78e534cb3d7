"""Divides recordings among training, validation and test.

No speaker and no recording is in two splits, if there are enough of them. As far as possible the name of a recording
alone decides on its split. Recordings that are added later therefore move few others.
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
    """Shares of the recordings, or of one recording, held out for validation and test. The rest is for training.

    Args:
        valid: share of validation, from 0 to 1.
        test: share of the test, from 0 to 1.

    Raises:
        ValueError: a share is negative, or nothing is left to train on.
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
        """The splits other than training whose share is above 0, and their shares."""
        return {split: share for split, share in (("valid", self.valid), ("test", self.test)) if share > 0}

    @property
    def splits(self) -> Splits:
        """Training and the splits whose share is above 0."""
        return ("train", *self.held_out)


def assign(sizes: Mapping[str, int], shares: Shares) -> dict[str, str]:
    """Assign units (speakers or recordings) to splits. There must be at least as many units as splits.

    One large unit goes to training. The hash of its name decides on every other unit, within limits. Each held-out
    split gets at least one unit, at least half of its share, and at most twice its share.

    Args:
        sizes: the size of each unit, by its name.
        shares: shares of validation and test.

    Returns:
        The split of each unit.
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
    """Choose one of the units that have at least half the size of the largest.

    The hash of the name chooses, so the choice stays the same if units grow a little.
    """
    largest = max(sizes.values())
    return max((unit for unit in sizes if 2 * sizes[unit] >= largest), key=_place)


def _place(unit: str) -> float:
    """Return the hash of a name as a number between 0 and 1."""
    return int.from_bytes(hashlib.sha256(os.fsencode(unit)).digest()[:8], "big") / 2**64


def divide_speech(
    voices: Mapping[PurePath, str], sizes: Mapping[PurePath, int], shares: Shares
) -> tuple[dict[PurePath, Splits], str]:
    """Divide recordings of speech among the splits.

    If there are at least as many speakers as splits, the recordings are divided by speaker. Of two speakers, one is for
    training, and the other is for validation and test. The recordings of a single speaker are divided by recording.
    They are cut only if there are fewer recordings than splits.

    Args:
        voices: the speaker of each recording.
        sizes: the length of each recording.
        shares: shares of validation and test.

    Returns:
        The splits that each recording serves, and the rule that decided, in words.
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
    """Divide recordings of noise among the splits.

    A kind is divided by recording if each share is at least one of its recordings. Of the other kinds, long recordings
    are cut. The short ones of all these kinds together are divided by recording. If they are fewer than the splits,
    they are for training. They are cut only if there is no other noise.

    Args:
        kinds: the kind of each recording.
        sizes: the length of each recording.
        shares: shares of validation and test.
        cut_from: length from which on a recording is long, in the same unit as ``sizes``.

    Returns:
        The splits that each recording serves.
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
    """Return where a recording is cut for its splits.

    Each held-out part has at least ``least`` samples, or a quarter of the recording if that is shorter. If training is
    not among the splits, the recording is divided in proportion to the shares.

    Args:
        frames: length of the recording in samples.
        splits: the splits that the recording serves.
        shares: shares of validation and test.
        least: shortest held-out part in samples.

    Returns:
        For each split its first sample, and its end, which is the first sample after it. Training is first. Empty parts
        are omitted.
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
    """Identify the speaker of each file by the folders that contain it.

    Folders that contain all files are ignored. If every file name begins with the name of one of its folders, that
    folder is the speaker. LibriSpeech and VCTK have such names. Otherwise the first folder is the speaker.

    Args:
        names: paths of the files below their common folder.

    Returns:
        The speaker of each file, and the rule that was used, in words.
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
    """Return the first folder whose name is a prefix of the file's name, or None."""
    stem = PurePath(parts[-1]).stem
    return next((folder for folder in parts[:-1] if re.match(rf"{re.escape(folder)}(?![0-9A-Za-z])", stem)), None)
