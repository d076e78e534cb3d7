"""Data sets for a training loop: training examples drawn on the fly, and fixed examples for validation and test.

A training example depends only on the seed, the epoch and its place in the epoch. It does not depend on the number of
workers or processes, nor on where a run was interrupted. A resumed run gets the examples of an uninterrupted run.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data import equipment, mixing, textures, vocal_tract
from lite_rtse_ext.data.audiofile import AudioCache
from lite_rtse_ext.data.manifest import Clip, Manifest, ManifestError, Mixture, Pair
from lite_rtse_ext.data.mixing import MixingOptions
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["Example", "ExampleSampler", "FixedExamples", "TrainingExamples"]

_Samples = NDArray[np.float32]
_MOST_TRIES, _MOST_SILENCES = 100, 50
_PAUSE_SECONDS = 0.5
_GRAIN_SPEED = 0.6, 1.7
_LONGEST_RESPONSE = 10 * SAMPLE_RATE_HZ
_LOOK_THROUGH = 60 * SAMPLE_RATE_HZ
_SILENT_RANGE = 4 / 32768


class Example(NamedTuple):
    """A noisy and a clean waveform, each float32 ``(samples,)`` at 16 kHz."""

    noisy: Tensor
    clean: Tensor


class TrainingExamples(Dataset[Example]):
    """Examples of equal length, drawn on the fly.

    If the manifest has training pairs, the examples are stretches of these, as they are. Of the options only
    ``seconds`` holds then, and a warning tells if there are training clips as well, since they are not used. Otherwise
    the examples are mixtures of speech and noise. The index is ``(epoch, place)``, as :class:`ExampleSampler` yields
    it. Only the drawn stretches are read, so a recording of hours needs no more memory than a short one. If a stretch
    of speech or noise is silent, another one is drawn. A warning names a recording that is silent throughout. The mean
    of each stretch of speech and noise is removed.

    Args:
        manifest: the data.
        options: how examples are drawn.
        seed: seed of all draws.
        refuse_damaged: raise the error of a damaged file. Otherwise a warning names the file, and another one is used.
        cache_megabytes: memory in each worker to keep files that were read, in MB.

    Raises:
        ManifestError: the manifest has nothing to train on, or ``noise_weights`` does not fit its kinds of noise.
        RuntimeError: libsndfile lacks a codec that the options ask for.
    """

    def __init__(
        self,
        manifest: Manifest,
        options: MixingOptions,
        seed: int,
        refuse_damaged: bool = False,
        cache_megabytes: float = 0.0,
    ) -> None:
        self.manifest, self.options, self.seed, self.refuse_damaged = manifest, options, seed, refuse_damaged
        equipment.require_codecs(options)
        self._cache = AudioCache(cache_megabytes)
        self._warned: set[str] = set()
        self._with_sound: dict[str, bool] = {}
        self._pairs = [pair for pair in manifest.pairs if pair.split == "train"]
        self._speech = manifest.select("speech", "train")
        self._voices: dict[str, list[Clip]] = {}
        for clip in self._speech:
            self._voices.setdefault(clip.label, []).append(clip)
        self._rooms = manifest.select("room", "train")
        self._noises: dict[str, list[Clip]] = {}
        for clip in manifest.select("noise", "train"):
            self._noises.setdefault(clip.label, []).append(clip)
        self._labels = sorted(self._noises)
        unused = sum(clip.split == "train" for clip in manifest.clips) if self._pairs else 0
        if unused:
            what = f"{manifest.root}: {unused} training clips are not used, as there are training pairs"
            warnings.warn(what, stacklevel=2)
        if not self._pairs and not (self._speech and self._noises):
            raise ManifestError(f"{manifest.root}: nothing to train on: neither pairs nor both speech and noise")
        unknown = sorted(set(options.noise_weights) - set(self._labels))
        if unknown:
            raise ManifestError(f"noise_weights: no noise of the kind {', '.join(unknown)}; known: {self._labels}")
        self._label_weights = self._chances_of_noises()

    def __len__(self) -> int:
        """The number of pairs, or of utterances. Each of them begins one example per epoch."""
        return len(self._pairs or self._speech)

    def __getitem__(self, index: tuple[int, int]) -> Example:
        """Draw the example at ``(epoch, place)``.

        Raises:
            OSError, AudioError: a file is missing or damaged, if ``refuse_damaged`` is set. The message names it.
            ManifestError: too many draws in a row failed.
        """
        epoch, place = index
        random = np.random.default_rng((self.seed, epoch, place))
        reason = ""
        for _ in range(_MOST_TRIES):
            try:
                noisy, clean = self._pair(place, epoch, random) if self._pairs else self._mix(place, epoch, random)
            except (OSError, AudioError) as error:
                if self.refuse_damaged:
                    raise
                reason = str(error)
                self._warn(reason)
                place = int(random.integers(len(self)))
                continue
            return Example(torch.from_numpy(noisy), torch.from_numpy(clean))
        raise ManifestError(f"{self.manifest.root}: {_MOST_TRIES} examples in a row could not be drawn: {reason}")

    def _chances_of_noises(self) -> NDArray[np.float64]:
        """Compute the probability of each kind of noise."""
        if not self._labels:
            return np.zeros(0)
        weights = np.array([self.options.noise_weights.get(label, 1.0) for label in self._labels])
        frames = np.array([sum(clip.frames for clip in self._noises[label]) for label in self._labels])
        if not weights.any():
            raise ManifestError(f"noise_weights: expected one of {self._labels} above 0, got 0 for all")
        by_kind, by_length = weights / weights.sum(), weights * frames / (weights @ frames)
        balance = self.options.balance_noises
        chances: NDArray[np.float64] = balance * by_kind + (1 - balance) * by_length
        return chances

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(f"skipped: {message}", stacklevel=3)

    def _utterance(self, place: int, epoch: int) -> int:
        """The utterance at a place of an epoch.

        Every epoch has each utterance once, in a random order of its own. A longer epoch continues with another order.
        """
        lap, place = divmod(place, len(self))
        return int(np.random.default_rng((self.seed, epoch, lap, len(self))).permutation(len(self))[place])

    def _read(self, clip: Clip, start: int, count: int) -> _Samples:
        return self._cache.read(self.manifest.path(clip.path), clip.frames, start, count)

    def _stretch(self, clip: Clip, factor: float, random: np.random.Generator) -> _Samples:
        """Read as much as an example needs at this speed, from a random place, or all of a short recording.

        The mean is removed. A constant offset is no sound, but would count in the power, and step at every pause.
        """
        wanted = round(self.options.samples * factor) + 1
        start = int(random.integers(max(1, clip.frames - wanted + 1)))
        samples = self._read(clip, start, min(wanted, clip.frames))
        if _is_silent(samples) and not self._has_sound(clip):
            self._warn(f"{self.manifest.path(clip.path)}: is silent throughout")
        changed = mixing.change_speed(samples, factor)
        changed = changed if len(changed) else samples  # resampling may leave nothing of one or two samples
        return np.asarray(changed - changed.mean(), np.float32)

    def _has_sound(self, clip: Clip) -> bool:
        if clip.path not in self._with_sound:
            starts = range(0, clip.frames, _LOOK_THROUGH)
            parts = (self._read(clip, start, min(_LOOK_THROUGH, clip.frames - start)) for start in starts)
            self._with_sound[clip.path] = not all(map(_is_silent, parts))
        return self._with_sound[clip.path]

    def _sounding(self, what: str, draw: Callable[[], _Samples]) -> _Samples:
        """Draw samples until they are not silent.

        Raises:
            AudioError: too many draws in a row are silent.
        """
        for _ in range(_MOST_SILENCES):
            samples = draw()
            if not _is_silent(samples):
                return samples
        raise AudioError(f"{self.manifest.root}: {_MOST_SILENCES} stretches of {what} in a row were silent")

    def _pair(self, place: int, epoch: int, random: np.random.Generator) -> tuple[_Samples, _Samples]:
        pair, length = self._pairs[self._utterance(place, epoch)], self.options.samples
        start = int(random.integers(max(1, pair.frames - length + 1)))
        count = min(length, pair.frames)
        both = [
            self._cache.read(self.manifest.path(path), pair.frames, start, count) for path in (pair.noisy, pair.clean)
        ]
        noisy, clean = (np.pad(samples, (0, length - count)) for samples in both)
        return noisy, clean

    def _mix(self, place: int, epoch: int, random: np.random.Generator) -> tuple[_Samples, _Samples]:
        options = self.options
        clip = self._speech[self._utterance(place, epoch)]
        if random.random() < options.balance_speakers:
            voice = list(self._voices.values())[random.integers(len(self._voices))]
            clip = voice[random.integers(len(voice))]
        others = (self._speech[random.integers(len(self._speech))] for _ in itertools.count())
        clips = itertools.chain([clip], others)
        speech = clean = self._sounding("speech", lambda: self._speech_stretch(next(clips), random))
        noise = self._noise(random)
        if self._rooms and random.random() < options.reverb_prob:
            speech, clean, noise = self._in_rooms(speech, noise, random)
        level = np.float32(10 ** (random.uniform(*options.speech_dbfs) / 20) / max(mixing.rms(speech), 1e-6))
        speech, clean = speech * level, clean * level
        noise = mixing.mix_at(speech, noise, random.uniform(*options.snr_db))
        what = random.random()
        if what < options.no_noise:
            noise = np.zeros_like(noise)
        elif what < options.no_noise + options.no_speech:
            speech, clean = np.zeros_like(speech), np.zeros_like(clean)
        return equipment.record(speech + noise, clean, options, random)

    def _in_rooms(
        self, speech: _Samples, noise: _Samples, random: np.random.Generator
    ) -> tuple[_Samples, _Samples, _Samples]:
        """Return the reverberant speech, the clean signal of it, and the reverberant noise."""
        room, other = (self._sounding("room responses", lambda: self._response(random)) for _ in range(2))
        heard, early_ms = mixing.reverberate(speech, room, 0), self.options.early_ms
        clean = heard if early_ms is None else mixing.reverberate(speech, mixing.early_part(room, early_ms), 0)
        return heard, clean, mixing.reverberate(noise, other, 0)

    def _response(self, random: np.random.Generator) -> _Samples:
        """Read a room response from its direct sound on."""
        clip = self._rooms[random.integers(len(self._rooms))]
        response = self._read(clip, 0, min(clip.frames, _LONGEST_RESPONSE))
        response = response[mixing.direct_sound(response) :]
        return np.pad(response, (0, 1))  # a response of one sample would count as silent, since it is constant

    def _speech_stretch(self, clip: Clip, random: np.random.Generator) -> _Samples:
        """Draw a stretch of speech. Utterances of the same speaker, with pauses between them, follow a short one."""
        options, length = self.options, self.options.samples
        factor = random.uniform(*options.speed)
        parts: list[_Samples] = []
        have = 0
        same_voice = self._voices[clip.label]
        while have < length:
            samples = self._stretch(clip, factor, random)
            pause = np.zeros(int(random.uniform(0, _PAUSE_SECONDS) * SAMPLE_RATE_HZ), np.float32)
            parts += [samples, pause] if random.random() < 0.5 else [pause, samples]
            have += len(samples) + len(pause)
            clip = same_voice[random.integers(len(same_voice))]
        speech = vocal_tract.change(np.concatenate(parts)[:length], options.formants, random)
        return mixing.equalize(speech, options.speech_equalizer_db, random)

    def _noise(self, random: np.random.Generator) -> _Samples:
        options = self.options
        chances = np.array(options.noises) / sum(options.noises)
        count = 1 + int(random.choice(len(chances), p=chances))
        total = np.zeros(options.samples, np.float32)
        for _ in range(count):
            noise = self._sounding("noise", lambda: self._any_noise(random))
            if random.random() < options.noise_reversed:
                noise = noise[::-1]
            if random.random() < options.phase_randomization_prob:
                noise = textures.randomize_phases(noise, random)
            if random.random() < options.noise_reverb_prob:
                noise = mixing.reverberate(noise, mixing.diffuse_response(random))
            if random.random() < options.amplitude_modulation_prob:
                noise = textures.modulate_amplitude(noise, random)
            noise = mixing.equalize(noise, options.noise_equalizer_db, random)
            total += noise / np.float32(max(mixing.rms(noise), 1e-6)) * np.float32(10 ** random.uniform(-0.5, 0))
        return total

    def _any_noise(self, random: np.random.Generator) -> _Samples:
        options, what = self.options, random.random()
        if what < options.babble:
            return self._babble(random)
        if what < options.babble + options.synthetic:
            return textures.synthetic_noise(options.samples, random)
        if what < options.babble + options.synthetic + options.granular_prob:
            return textures.granular_texture(self._grain_sources(random), options.samples, random)
        return self._one_noise(random)

    def _grain_sources(self, random: np.random.Generator) -> list[_Samples]:
        """Draw one to three stretches of noise for a granular texture, at random speeds.

        Speech is never used. Grains of speech sound like unknown voices. A network that learns to remove such grains
        also removes unknown voices.
        """
        count = int(random.integers(1, 4))
        return [mixing.change_speed(self._one_noise(random), random.uniform(*_GRAIN_SPEED)) for _ in range(count)]

    def _one_noise(self, random: np.random.Generator) -> _Samples:
        """Draw one kind of noise, and join clips of this kind until they fill an example."""
        length = self.options.samples
        clips = self._noises[self._labels[random.choice(len(self._labels), p=self._label_weights)]]
        factor = random.uniform(*self.options.noise_speed)
        parts, have = [], 0
        while have < length:
            clip = clips[random.integers(len(clips))]
            parts.append(self._stretch(clip, factor, random))
            if clip.frames < SAMPLE_RATE_HZ:  # a single event, such as a keystroke
                parts.append(np.zeros(int(random.uniform(0, 0.3) * SAMPLE_RATE_HZ), np.float32))
            have += sum(map(len, parts[-2:])) if clip.frames < SAMPLE_RATE_HZ else len(parts[-1])
        return np.concatenate(parts)[:length]

    def _babble(self, random: np.random.Generator) -> _Samples:
        options = self.options
        total = np.zeros(options.samples, np.float32)
        for _ in range(int(random.integers(options.babble_voices[0], options.babble_voices[1] + 1))):
            clip = self._speech[random.integers(len(self._speech))]
            voice = self._stretch(clip, random.uniform(0.8, 1.25), random)
            voice = mixing.cut(voice, options.samples, random)
            total += voice / np.float32(max(mixing.rms(voice), 1e-6)) * np.float32(10 ** random.uniform(-0.5, 0))
        if random.random() < options.babble_reverb_prob:
            total = mixing.reverberate(total, mixing.diffuse_response(random))
        return total


def _is_silent(samples: _Samples) -> bool:
    """Whether all samples are within two 16-bit steps of one constant."""
    return bool(np.ptp(samples) <= _SILENT_RANGE)


class ExampleSampler(Sampler[list[tuple[int, int]]]):
    """Batches of indices ``(epoch, place)``. Each process gets its own part of every batch.

    An iteration begins where the run is and ends at the end of the epoch.

    Args:
        batches: number of batches in an epoch.
        batch_size: number of examples per batch in one process.
        rank: rank of this process.
        processes: number of processes.
        done: function that returns how many batches the run has used so far, over all epochs.
    """

    def __init__(
        self, batches: int, batch_size: int, rank: int = 0, processes: int = 1, done: Callable[[], int] = int
    ) -> None:
        self.batches, self.batch_size, self.rank, self.processes, self.done = batches, batch_size, rank, processes, done

    def __len__(self) -> int:
        """The number of batches in a whole epoch."""
        return self.batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, first = divmod(self.done(), self.batches)
        starts = [(batch * self.processes + self.rank) * self.batch_size for batch in range(first, self.batches)]
        return iter([[(epoch, place) for place in range(start, start + self.batch_size)] for start in starts])


class FixedExamples(Dataset[Example]):
    """The fixed mixtures and pairs of a split. Each is complete and has its own length.

    Args:
        manifest: the data.
        split: valid or test.

    Raises:
        ManifestError: the split has no mixtures and no pairs.
    """

    def __init__(self, manifest: Manifest, split: str) -> None:
        self.manifest = manifest
        self.entries = manifest.fixed(split)
        if not self.entries:
            raise ManifestError(f"{manifest.root}: no mixtures or pairs in the split {split}")
        self._frames = {clip.path: clip.frames for clip in manifest.clips}
        self._cache = AudioCache()

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Example:
        """Read the example at an index.

        Raises:
            OSError: a file is missing. The message names it.
            AudioError: a file is damaged. The message names it.
        """
        entry = self.entries[index]
        noisy, clean = self._pair(entry) if isinstance(entry, Pair) else self._mixture(entry)
        return Example(torch.from_numpy(noisy), torch.from_numpy(clean))

    def _file(self, path: str) -> Path:
        return self.manifest.path(path)

    def _pair(self, pair: Pair) -> tuple[_Samples, _Samples]:
        read = self._cache.read
        return read(self._file(pair.noisy), pair.frames), read(self._file(pair.clean), pair.frames)

    def _mixture(self, mixture: Mixture) -> tuple[_Samples, _Samples]:
        speech = self._cache.read(self._file(mixture.speech), self._frames[mixture.speech], 0, mixture.frames)
        noise = self._cache.read(
            self._file(mixture.noise), self._frames[mixture.noise], mixture.noise_start, len(speech)
        )
        noisy = speech + mixing.mix_at(speech, noise, mixture.snr_db)
        peak = max(1.0, float(np.abs(noisy).max()))
        return noisy / np.float32(peak), speech / np.float32(peak)
