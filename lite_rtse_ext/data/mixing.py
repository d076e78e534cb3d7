"""Noisy speech out of clean speech and noise, on the fly: what an example is made of is drawn from one seed."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

import numpy as np
import soxr
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from typing_extensions import Self

from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.options import (
    STRICT,
    Decibels,
    NonNegative,
    Ordered,
    Positive,
    Probability,
    SomePositive,
    Text,
)

__all__ = [
    "MixingOptions",
    "band_limit",
    "change_speed",
    "cut",
    "diffuse_response",
    "equalize",
    "mix_at",
    "reverberate",
    "rms",
]

_Samples = NDArray[np.float32]
TINY = 1e-9

_Speed = Annotated[Positive, Field(ge=0.1, le=10)]
_Voices = Annotated[int, Field(strict=True, ge=1, le=1000)]
_Hz = Annotated[Positive, Field(ge=1)]


@dataclass(frozen=True, config=STRICT)
class MixingOptions:
    """How training examples are drawn. A pair is a range, drawn from evenly.

    Raises ValueError, which names the option, where one is outside its limits or two contradict each other.

    Args:
        seconds: length of an example.
        snr_db: ratio of the powers of speech and noise.
        balance_speakers: chance that a speaker is drawn first, each as likely, and then one of the utterances;
            otherwise every utterance has its turn, and so a speaker with many of them is heard often.
        speech_dbfs: level of the speech, its power over the whole example.
        noises: how many noises are added up; the chance of 1, 2, 3 … of them.
        babble: chance that a noise is several other training utterances at once.
        babble_voices: how many they are.
        babble_reverb_prob: probability that they are reverberant; see :func:`diffuse_response`.
        synthetic: chance that a noise is made, not recorded; see :func:`~lite_rtse_ext.data.textures.synthetic_noise`.
        granular_prob: probability that a noise is synthesized from grains of others; see
            :func:`~lite_rtse_ext.data.textures.granular_texture`.
        noise_reversed: chance that a noise is heard backwards.
        phase_randomization_prob: probability that a noise is made stationary, with the spectrum that it had; see
            :func:`~lite_rtse_ext.data.textures.randomize_phases`.
        amplitude_modulation_prob: probability that the level of a noise varies; see
            :func:`~lite_rtse_ext.data.textures.modulate_amplitude`.
        noise_reverb_prob: probability that a noise is reverberant; see :func:`diffuse_response`.
        speed: factor on the speed of speech, and its pitch with it.
        noise_speed: the same for noise.
        noise_equalizer_db: how far a random smooth filter raises and lowers parts of a noise's spectrum.
        speech_equalizer_db: the same for speech.
        band_limit: chance that an example, clean side too, has nothing above a random cutoff.
        band_limit_hz: range of that cutoff.
        reverb_prob: probability that speech and noise are convolved with room responses, where the manifest has some.
        offset: chance that a constant is added to the noisy side. The high-pass before the network takes it out: it is
            for networks that are trained and used without one.
        offset_dbfs: range of its level.
        hum: chance that hum is added to the noisy side; see :func:`~lite_rtse_ext.data.textures.hum`.
        hum_dbfs: range of its level.
        no_noise: chance that nothing is added.
        no_speech: chance that there is no speech, only noise.
        noise_weights: how often a kind of noise is drawn, by its label; 1 for those not named.
    """

    seconds: Annotated[Positive, Field(ge=0.1, le=3600)] = 4.0
    snr_db: Annotated[tuple[Decibels, Decibels], Ordered] = (-5.0, 20.0)
    balance_speakers: Probability = 0.0
    speech_dbfs: Annotated[tuple[Decibels, Decibels], Ordered] = (-35.0, -15.0)
    noises: Annotated[tuple[NonNegative, ...], SomePositive] = (0.7, 0.3)
    babble: Probability = 0.0
    babble_voices: Annotated[tuple[_Voices, _Voices], Ordered] = (6, 10)
    babble_reverb_prob: Probability = 0.0
    synthetic: Probability = 0.0
    granular_prob: Probability = 0.0
    noise_reversed: Probability = 0.0
    phase_randomization_prob: Probability = 0.0
    amplitude_modulation_prob: Probability = 0.0
    noise_reverb_prob: Probability = 0.0
    speed: Annotated[tuple[_Speed, _Speed], Ordered] = (1.0, 1.0)
    noise_speed: Annotated[tuple[_Speed, _Speed], Ordered] = (1.0, 1.0)
    noise_equalizer_db: Annotated[Decibels, Field(ge=0)] = 0.0
    speech_equalizer_db: Annotated[Decibels, Field(ge=0)] = 0.0
    band_limit: Probability = 0.0
    band_limit_hz: Annotated[tuple[_Hz, _Hz], Ordered] = (3400.0, 7500.0)
    reverb_prob: Probability = 0.0
    offset: Probability = 0.0
    offset_dbfs: Annotated[tuple[Decibels, Decibels], Ordered] = (-60.0, -10.0)
    hum: Probability = 0.0
    hum_dbfs: Annotated[tuple[Decibels, Decibels], Ordered] = (-60.0, -30.0)
    no_noise: Probability = 0.0
    no_speech: Probability = 0.0
    noise_weights: dict[Text, NonNegative] = field(default_factory=dict)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for names in (("babble", "synthetic", "granular_prob"), ("no_noise", "no_speech")):
            total = sum(getattr(self, name) for name in names)
            if total > 1 + 1e-9:
                raise ValueError(f"{' + '.join(names)}: expected at most 1 together, got {total:g}")
        return self

    @property
    def samples(self) -> int:
        """Length of an example in samples."""
        return round(self.seconds * SAMPLE_RATE_HZ)


def rms(samples: _Samples) -> float:
    """Root of the mean power."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def mix_at(speech: _Samples, noise: _Samples, snr_db: float) -> _Samples:
    """The noise scaled so that the powers of speech and noise, over all samples, have this ratio.

    Silent noise stays silent; for silent speech the noise is left as it is.
    """
    power, noise_power = rms(speech), rms(noise)
    if power < TINY or noise_power < TINY:
        return noise
    scaled: _Samples = noise * np.float32(power / noise_power * 10 ** (-snr_db / 20))
    return scaled


def cut(samples: _Samples, length: int, random: np.random.Generator) -> _Samples:
    """A stretch of a signal from a random place; a shorter one is repeated from there on, without end."""
    start = int(random.integers(max(1, len(samples) - length + 1)))
    if len(samples) >= length:
        return samples[start : start + length]
    turned = np.roll(samples, -int(random.integers(len(samples))))
    return np.asarray(np.resize(turned, length), np.float32)


def change_speed(samples: _Samples, factor: float) -> _Samples:
    """Play a signal faster (factor above 1) or slower; its pitch goes with it."""
    if factor == 1.0:
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ, quality="MQ"), np.float32)


def equalize(samples: _Samples, range_db: float, random: np.random.Generator) -> _Samples:
    """A random smooth filter: gains within ± ``range_db`` at six frequencies an octave apart or so, between them
    straight lines over the logarithm of frequency. Without phase."""
    if range_db == 0.0:
        return samples
    size = _transform_size(len(samples))
    corners_hz = np.array([100.0, 300.0, 800.0, 1800.0, 3500.0, 7000.0])
    gains_db = random.uniform(-range_db, range_db, len(corners_hz))
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ), 1.0)
    gain = 10 ** (np.interp(np.log(frequencies), np.log(corners_hz), gains_db) / 20)
    return _filtered(samples, gain, size)


def band_limit(samples: _Samples, cutoff_hz: float) -> _Samples:
    """Take away what is above a frequency, over a slope of 10 % of it. Without phase."""
    frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
    return _filtered(samples, np.clip((1.1 * cutoff_hz - frequencies) / (0.1 * cutoff_hz), 0.0, 1.0), len(samples))


def _transform_size(length: int) -> int:
    """The power of two from ``length`` on: one with large prime factors takes a transform forty times as long."""
    return 1 << max(0, length - 1).bit_length()


def _filtered(samples: _Samples, gain: NDArray[np.float64], size: int) -> _Samples:
    """Samples times a gain over the frequencies of a transform of ``size``, zero beyond the samples."""
    spectrum = np.fft.rfft(samples, size) * gain.astype(np.float32)
    return np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)


def diffuse_response(random: np.random.Generator) -> _Samples:
    """The response of a made-up room to what is far away in it: noise that falls by 60 dB within 0.2 to 1.2 s, without
    a direct sound, as beyond the critical distance, where reflections are louder than it."""
    seconds = random.uniform(0.2, 1.2)
    size = round(seconds * SAMPLE_RATE_HZ)
    decay = 10 ** (-3 * np.arange(size, dtype=np.float32) / np.float32(size))
    response: _Samples = random.standard_normal(size, np.float32) * decay
    return response


def reverberate(samples: _Samples, response: _Samples) -> _Samples:
    """Speech in a room: convolved with its response, whose first strongest sample is taken as no delay."""
    direct = int(np.argmax(np.abs(response)))
    response = response[direct:]
    size = _transform_size(len(samples) + len(response) - 1)
    product = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: len(samples)].astype(np.float32)
