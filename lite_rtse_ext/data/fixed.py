"""Fixed mixtures for validation and test: chosen once from a seed, then written down in the manifest."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from lite_rtse_ext.audio.stft import SAMPLE_RATE_HZ
from lite_rtse_ext.data.manifest import Clip, ManifestError, Mixture

__all__ = ["make_mixtures"]

MINIMUM_SECONDS, MAXIMUM_SECONDS = 2.0, 10.0


def make_mixtures(
    split: str, speech: Sequence[Clip], noise: Sequence[Clip], snrs_db: Sequence[float], count: int, seed: int
) -> Iterator[Mixture]:
    """Mixtures that spread evenly over kinds of noise and SNRs, each of another utterance as long as there are some.

    Utterances of 2 to 10 s are used, in an order that the seed decides; each gets the next kind of noise and SNR, and
    of that kind a clip and a place in it, drawn anew. Kinds without a clip of at least 2 s are left out.

    Args:
        split: valid or test.
        speech: clips to use.
        noise: clips to use.
        snrs_db: ratios of the powers of speech and noise.
        count: of the mixtures.
        seed: of the choice; the order of the clips matters too.

    Raises:
        ManifestError: no utterance or no noise is long enough.
    """
    shortest, longest = (round(seconds * SAMPLE_RATE_HZ) for seconds in (MINIMUM_SECONDS, MAXIMUM_SECONDS))
    utterances = [clip for clip in speech if shortest <= clip.frames <= longest]
    labels = sorted({clip.label for clip in noise if clip.frames >= shortest})
    if not utterances or not labels:
        lacking = "speech of 2 to 10 s" if not utterances else "noise of 2 s or more"
        raise ManifestError(f"no {split} mixtures can be made: there is no {lacking}")
    random = np.random.default_rng(seed)
    waiting: list[Clip] = []
    conditions = itertools.cycle(itertools.product(snrs_db, labels))
    for number, (snr_db, label) in zip(range(count), conditions, strict=False):
        candidates = [clip for clip in noise if clip.label == label]
        longest_noise = max(clip.frames for clip in candidates)
        if not any(clip.frames <= longest_noise for clip in waiting):
            waiting = [utterances[index] for index in random.permutation(len(utterances))]
        chosen = next((clip for clip in waiting if clip.frames <= longest_noise), None)
        if chosen is None:
            raise ManifestError(f"no {split} mixtures can be made: no utterance is as short as the noise {label}")
        waiting.remove(chosen)
        fitting = [clip for clip in candidates if clip.frames >= chosen.frames]
        place = fitting[random.integers(len(fitting))]
        start = int(random.integers(place.frames - chosen.frames + 1))
        yield Mixture(f"{split}-{number:03}", split, chosen.path, place.path, start, float(snr_db), label)
