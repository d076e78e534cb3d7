"""Fixed mixtures for validation and test. They are chosen once from a seed and recorded in the manifest."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lite_rtse_ext.data.audiofile import AudioCache
from lite_rtse_ext.data.manifest import Clip, ManifestError, Mixture
from lite_rtse_ext.data.prepare.faults import silence
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.listing import listed

__all__ = ["LEAST_SECONDS", "make_mixtures", "mixtures_of"]

MINIMUM_SECONDS, MAXIMUM_SECONDS = 2.0, 10.0
LEAST_SECONDS = 0.5
"""Shortest mixture if no clip has :data:`MINIMUM_SECONDS`. The metrics need at least this length."""

_MOST_DRAWS = 20
_MOST_TRIES = 3

Audible = Callable[[Clip, int, int], bool]


def make_mixtures(
    split: str,
    speech: Sequence[Clip],
    noise: Sequence[Clip],
    snrs_db: Sequence[float],
    count: int,
    seed: int,
    *,
    spread: bool = False,
    audible: Audible = lambda clip, start, frames: True,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[Mixture]:
    """Make mixtures with an even distribution of noise kinds and SNRs.

    Utterances of 2 to 10 s are used, in a random order. An utterance repeats only when no unused one is short enough.
    Each utterance gets the next kind of noise and the next SNR. Its noise is a random clip of that kind, from a random
    place on. If all utterances are longer than the longest clip of a kind, the beginning of an utterance is used. If no
    utterance, or no noise, has 2 s, those of at least half a second are used. Kinds without a clip of that length are
    left out.

    Args:
        split: valid or test.
        speech: speech clips to use.
        noise: noise clips to use.
        snrs_db: signal-to-noise ratios in dB.
        count: number of mixtures.
        seed: seed of all draws. The order of the clips also matters.
        spread: use kinds in a random order and SNRs in rotation, so that few mixtures already have every SNR.
            Otherwise the kinds are used in the order of their names. All are used at the first SNR, then at the next.
        audible: function of a clip, a first sample and a number of samples. It returns whether these samples hold any
            sound. Others are not used.
        report: function that is called with one line about each fault.

    Yields:
        At most ``count`` mixtures. Silent speech or noise can make them fewer.

    Raises:
        ManifestError: no utterance or no noise is long enough, or all that was drawn is silent.
    """
    kinds = _kinds(split, noise, report)
    random = np.random.default_rng(seed)
    turns = _Turns(_utterances(speech), random)
    if not turns.utterances or not kinds:
        lacking = "speech" if not turns.utterances else "noise"
        raise ManifestError(
            f"no {split} mixtures can be made: there is no {lacking} of {LEAST_SECONDS:g} s or more for them; "
            f"give more recordings of {lacking}, or a larger share for {split}, or 0 for none"
        )
    made = 0
    silent: set[str] = set()
    conditions = _conditions(list(kinds), snrs_db, random if spread else None)
    for label, snr_db in itertools.islice(conditions, _MOST_TRIES * count):
        most = max(clip.frames for clip in kinds[label])
        chosen = turns.take(most)
        frames = min(chosen.frames, most, round(MAXIMUM_SECONDS * SAMPLE_RATE_HZ))
        place = _place(kinds[label], frames, random, audible) if audible(chosen, 0, frames) else None
        if place is None:
            silent.add(f"{chosen.path} in {label}")
            continue
        length = None if frames == chosen.frames else frames
        yield Mixture(f"{split}-{made:03}", split, chosen.path, place[0].path, place[1], float(snr_db), label, length)
        made += 1
        if made == count:
            break
    if silent:
        report(f"{split} mixtures: {len(silent)} left out, since one side would be silent: {listed(sorted(silent))}")
    if not made:
        raise ManifestError(f"no {split} mixtures can be made: speech or noise is silent wherever they meet")


def mixtures_of(
    root: Path,
    clips: Sequence[Clip],
    splits: Sequence[str],
    *,
    snrs_db: Sequence[float],
    count: int,
    report: Callable[[str], None],
) -> tuple[Mixture, ...]:
    """Make the mixtures of several splits. A split without speech or noise for mixtures is reported.

    Args:
        root: the folder that the clips' paths are relative to.
        clips: clips of all splits.
        splits: valid, test or both.
        snrs_db: signal-to-noise ratios in dB.
        count: number of mixtures in each split.
        report: function that is called with one line about anything left out.

    Raises:
        OSError, AudioError: a clip is missing or damaged.
        ManifestError: no split has any mixtures.
    """
    cache = AudioCache()

    def audible(clip: Clip, start: int, frames: int) -> bool:
        return silence(cache.read(root / clip.path, clip.frames, start, frames)) is None

    made: list[Mixture] = []
    errors: list[ManifestError] = []
    for split in splits:
        speech, noise = ([c for c in clips if (c.kind, c.split) == (kind, split)] for kind in ("speech", "noise"))
        try:
            made += make_mixtures(
                split, speech, noise, snrs_db, count, len(split), spread=True, audible=audible, report=report
            )
        except ManifestError as error:
            errors.append(error)
    if errors and not made:
        raise errors[0]
    for each in errors:
        report(str(each))
    return tuple(made)


class _Turns:
    """Utterances in a random order. An utterance repeats only when no unused one is short enough."""

    def __init__(self, utterances: list[Clip], random: np.random.Generator) -> None:
        self.utterances = utterances
        self._random = random
        self._waiting: list[Clip] = []

    def take(self, frames: int) -> Clip:
        """Return the next utterance of at most ``frames`` samples, or the next of any length if all are longer."""
        cut = all(clip.frames > frames for clip in self.utterances)
        if not any(cut or clip.frames <= frames for clip in self._waiting):
            self._waiting = [self.utterances[index] for index in self._random.permutation(len(self.utterances))]
        chosen = next(clip for clip in self._waiting if cut or clip.frames <= frames)
        self._waiting.remove(chosen)
        return chosen


def _conditions(
    labels: list[str], snrs_db: Sequence[float], random: np.random.Generator | None
) -> Iterator[tuple[str, float]]:
    """Yield pairs of a noise kind and an SNR, in an endless cycle."""
    if random is None:
        return itertools.cycle((label, snr_db) for snr_db in snrs_db for label in labels)
    order = [labels[index] for index in random.permutation(len(labels))]
    laps = (
        (label, snrs_db[(lap + place) % len(snrs_db)])
        for lap in range(len(snrs_db))
        for place, label in enumerate(order)
    )
    return itertools.cycle(laps)


def _kinds(split: str, noise: Sequence[Clip], report: Callable[[str], None]) -> dict[str, list[Clip]]:
    """Group clips by kind, in the order of the kinds' names. Kinds without a clip of sufficient length are left out."""
    seconds = (
        MINIMUM_SECONDS if any(clip.frames >= MINIMUM_SECONDS * SAMPLE_RATE_HZ for clip in noise) else LEAST_SECONDS
    )
    kinds: dict[str, list[Clip]] = {label: [] for label in sorted({clip.label for clip in noise})}
    for clip in noise:
        kinds[clip.label].append(clip)
    short = [label for label in kinds if all(clip.frames < seconds * SAMPLE_RATE_HZ for clip in kinds[label])]
    if short and len(short) < len(kinds):
        report(f"{split} mixtures: without noise shorter than {seconds:g} s: {listed(short)}")
    return {label: clips for label, clips in kinds.items() if label not in short}


def _utterances(speech: Sequence[Clip]) -> list[Clip]:
    """Return the utterances of 2 to 10 s. If there are none, return longer ones, or else those of at least 0.5 s."""
    shortest, longest, least = (
        round(seconds * SAMPLE_RATE_HZ) for seconds in (MINIMUM_SECONDS, MAXIMUM_SECONDS, LEAST_SECONDS)
    )
    fitting = [clip for clip in speech if shortest <= clip.frames <= longest]
    longer = [clip for clip in speech if clip.frames > longest]
    return fitting or longer or [clip for clip in speech if clip.frames >= least]


def _place(
    clips: Sequence[Clip], frames: int, random: np.random.Generator, audible: Audible
) -> tuple[Clip, int] | None:
    """Draw a clip and a place in it with audible noise. Return None if several draws in a row are silent."""
    fitting = [clip for clip in clips if clip.frames >= frames]
    for _ in range(_MOST_DRAWS):
        clip = fitting[random.integers(len(fitting))]
        start = int(random.integers(clip.frames - frames + 1))
        if audible(clip, start, frames):
            return clip, start
    return None
