"""Who is trained on, and who judges."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import PurePath

import pytest

from lite_rtse_ext.data.prepare.splits import Shares, assign, divide_noise, divide_speech, speakers_of, stretches

LAYOUTS = {
    "flat folders": lambda who, n: f"{who}/{n}.wav",
    "LibriSpeech": lambda who, n: f"{who}/{100 + n // 3}/{who}-{100 + n // 3}-{n:04}.flac",
    "LibriSpeech and what it lies in": lambda who, n: f"LibriSpeech/train-clean-100/{who}/7/{who}-7-{n:04}.flac",
    "LibriSpeech and its parts": lambda who, n: f"{('dev', 'test')[int(who) % 2]}/{who}/7/{who}-7-{n:04}.flac",
    "VCTK": lambda who, n: f"wav48/p{who}/p{who}_{n:03}.wav",
    "chapters": lambda who, n: f"{who}/chapter{n // 4}/{n}.wav",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("speakers", [2, 3, 4, 5, 9, 40])
@pytest.mark.parametrize("shares", [Shares(), Shares(0.3, 0.3), Shares(0.2, 0.0), Shares(0.0001, 0.0001)])
def test_a_speaker_is_trained_on_or_judges(layout: str, speakers: int, shares: Shares) -> None:
    names = [PurePath(LAYOUTS[layout](str(10 + who), n)) for who in range(speakers) for n in range(15)]
    voices, _ = speakers_of(names)
    assert len(set(voices.values())) == speakers
    splits, rule = divide_speech(voices, dict.fromkeys(names, 1000), shares)
    found = defaultdict(set)
    for name in names:
        found[voices[name]].update(splits[name])
    assert {split for own in found.values() for split in own} == set(shares.splits)
    shared = [own for own in found.values() if len(own) > 1]
    assert all(own == {"valid", "test"} for own in shared)
    assert bool(shared) == (speakers == 2 and len(shares.splits) == 3)
    assert rule.startswith("by speaker")


def test_files_without_folders_are_divided_by_recording_and_few_are_cut() -> None:
    for count in (1, 2, 3, 4, 40):
        names = [PurePath(f"{n}.wav") for n in range(count)]
        voices, _ = speakers_of(names)
        splits, rule = divide_speech(voices, dict.fromkeys(names, 1000), Shares())
        assert {split for own in splits.values() for split in own} == {"train", "valid", "test"}
        assert all(len(own) == (1 if count > 2 else 3) for own in splits.values())
        assert ("cutting" in rule) == (count < 3)


@pytest.mark.parametrize("count", range(3, 60, 4))
def test_shares_are_near_what_is_asked_for(count: int) -> None:
    found = list(assign({f"{n}.wav": 1 for n in range(count)}, Shares(0.1, 0.2)).values())
    for split, share in (("valid", 0.1), ("test", 0.2)):
        assert max(1, round(share * count / 2)) <= found.count(split) <= max(1, 2 * share * count + 1)
    assert found.count("train") >= 1


def test_what_is_added_moves_few_others() -> None:
    before = assign({f"{n}": 10 for n in range(100)}, Shares())
    after = assign({f"{n}": 10 for n in range(120)}, Shares())
    assert sum(before[unit] != after[unit] for unit in before) <= 2


@pytest.mark.parametrize("count", [1, 2, 3, 8, 10, 50])
@pytest.mark.parametrize("seconds", [1, 15, 30, 600])
@pytest.mark.parametrize("kinds", [1, 3])
def test_every_split_has_noise(count: int, seconds: int, kinds: int) -> None:
    names = {PurePath(f"{kind}/{n}.wav"): str(kind) for kind in range(kinds) for n in range(count)}
    splits = divide_noise(names, dict.fromkeys(names, seconds), Shares(), cut_from=20)
    assert {split for own in splits.values() for split in own} == {"train", "valid", "test"}
    cut = [name for name, own in splits.items() if len(own) > 1]
    assert bool(cut) == ((count < 10 and seconds >= 20) or len(names) < 3)


@pytest.mark.parametrize("splits", [("train",), ("train", "valid", "test"), ("train", "test"), ("valid", "test")])
@pytest.mark.parametrize("frames", [1, 3, 100, 999, 100_000])
def test_stretches_cover_a_recording(splits: tuple[str, ...], frames: int) -> None:
    bounds = list(stretches(frames, splits, Shares(0.1, 0.2), least=50).values())
    assert bounds[0][0] == 0
    assert bounds[-1][1] == frames
    assert all(one[1] == other[0] for one, other in pairwise(bounds))
    assert all(start < stop for start, stop in bounds)
    assert len(bounds) == len(splits) or frames < 4
