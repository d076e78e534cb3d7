"""Options and signal processing to mix clean speech and noise on the fly. One seed determines a whole example."""

from __future__ import annotations

from dataclasses import field
from functools import lru_cache
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
    "direct_sound",
    "early_part",
    "equalize",
    "mix_at",
    "reverberate",
    "rms",
]

_Samples = NDArray[np.float32]
TINY = 1e-9
_EARLY_FADE_SECONDS = 0.005
_CORNERS_HZ = np.array([100.0, 300.0, 800.0, 1800.0, 3500.0, 7000.0])

_Speed = Annotated[Positive, Field(ge=0.1, le=10)]
_Formants = Annotated[Positive, Field(ge=0.5, le=2)]
_Voices = Annotated[int, Field(strict=True, ge=1, le=1000)]
_Hz = Annotated[Positive, Field(ge=1)]
_BelowPeak = Annotated[Decibels, Field(le=0)]
_Kbps = Annotated[Positive, Field(ge=12, le=128)]


@dataclass(frozen=True, config=STRICT)
class MixingOptions:
    """How training examples are drawn. A pair of values is a range with a uniform distribution.

    Args:
        seconds: length of an example in seconds.
        snr_db: signal-to-noise ratio in dB, from the powers of speech and noise.
        balance_speakers: probability that a speaker is drawn first, all equally likely, and then one utterance of this
            speaker. Otherwise all utterances are used in turn, so speakers with many utterances occur more often.
        speech_dbfs: power of the speech over the whole example, in dB relative to full scale. In a room it is the
            reverberant speech. Where speech and noise together exceed full scale, both are scaled down.
        noises: relative probabilities that 1, 2, 3 … noises are summed.
        balance_noises: probability that a kind of noise is drawn by ``noise_weights`` alone, so that short kinds are as
            frequent as long ones. Otherwise the probability of a kind is also proportional to its total length.
        babble: probability that a noise is babble, a sum of several random training utterances.
        babble_voices: number of utterances in babble.
        babble_reverb_prob: probability that babble is reverberant; see :func:`diffuse_response`.
        synthetic: probability that a noise is synthetic; see :func:`~lite_rtse_ext.data.textures.synthetic_noise`.
        granular_prob: probability that a noise is synthesized from grains of others; see
            :func:`~lite_rtse_ext.data.textures.granular_texture`.
        noise_reversed: probability that a noise is reversed in time.
        phase_randomization_prob: probability that a noise becomes stationary and keeps its spectrum; see
            :func:`~lite_rtse_ext.data.textures.randomize_phases`.
        amplitude_modulation_prob: probability that the level of a noise varies; see
            :func:`~lite_rtse_ext.data.textures.modulate_amplitude`.
        noise_reverb_prob: probability that a noise is reverberant; see :func:`diffuse_response`.
        speed: factor on the speed of speech. Its pitch changes by the same factor.
        formants: factor on the frequencies of the formants of speech, whose pitch stays. With ``speed`` it makes many
            voices of one; see :func:`~lite_rtse_ext.data.vocal_tract.move_formants`.
        noise_speed: factor on the speed and the pitch of noise.
        noise_equalizer_db: largest gain in dB, up or down, of a random smooth filter on a noise; see :func:`equalize`.
        speech_equalizer_db: the same for speech.
        band_limit: probability that noisy and clean signal of an example are band-limited; see :func:`band_limit`.
        band_limit_hz: cutoff frequency in Hz.
        reverb_prob: probability that speech and noise are convolved with room responses, if the manifest has any.
        early_ms: length in ms of the early part of a room response. The clean signal is the speech convolved with this
            part, so the network learns to remove later reflections. None keeps them: the clean signal is then as
            reverberant as the noisy one. See :func:`early_part`.
        microphone_prob: probability that noisy and clean signal pass the same random microphone; see
            :func:`~lite_rtse_ext.data.equipment.microphone`.
        microphone_db: largest gain in dB, up or down, of each part of a microphone's response.
        offset: probability that a constant is added to the noisy signal. A high-pass before the network removes it.
            The option is for networks that are trained and used without a high-pass.
        offset_dbfs: level of the constant in dB relative to full scale.
        hum: probability that hum is added to the noisy signal; see :func:`~lite_rtse_ext.data.textures.hum`.
        hum_dbfs: power of the hum in dB relative to full scale.
        clipping_prob: probability that the noisy signal is clipped.
        clipping_db: level at which it is clipped, in dB relative to its peak.
        opus_prob: probability that the noisy signal is encoded by Opus and decoded. An example passes one codec at
            most; see :func:`~lite_rtse_ext.data.equipment.encode`.
        mp3_prob: the same for MP3.
        g711_prob: the same for G.711, with A-law or μ-law at 8 kHz. The clean signal is also limited to this band.
        codec_kbps: bit rate of Opus and MP3 in kbit/s. Below about 30 kbit/s MP3 removes frequencies above 5.5 kHz.
        no_noise: probability that an example has no noise.
        no_speech: probability that an example has no speech, only noise.
        noise_weights: relative frequency of each kind of noise, by its label. A kind that is not named has weight 1.

    Raises:
        ValueError: an option is outside its limits, or options contradict each other. The message names them.
    """

    seconds: Annotated[Positive, Field(ge=0.1, le=3600)] = 4.0
    snr_db: Annotated[tuple[Decibels, Decibels], Ordered] = (-5.0, 20.0)
    balance_speakers: Probability = 0.0
    speech_dbfs: Annotated[tuple[Decibels, Decibels], Ordered] = (-35.0, -15.0)
    noises: Annotated[tuple[NonNegative, ...], SomePositive] = (0.7, 0.3)
    balance_noises: Probability = 1.0
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
    formants: Annotated[tuple[_Formants, _Formants], Ordered] = (1.0, 1.0)
    noise_speed: Annotated[tuple[_Speed, _Speed], Ordered] = (1.0, 1.0)
    noise_equalizer_db: Annotated[Decibels, Field(ge=0)] = 0.0
    speech_equalizer_db: Annotated[Decibels, Field(ge=0)] = 0.0
    band_limit: Probability = 0.0
    band_limit_hz: Annotated[tuple[_Hz, _Hz], Ordered] = (3400.0, 7500.0)
    reverb_prob: Probability = 0.0
    early_ms: Annotated[Positive, Field(le=10_000)] | None = 50.0
    microphone_prob: Probability = 0.0
    microphone_db: Annotated[Decibels, Field(ge=0)] = 6.0
    offset: Probability = 0.0
    offset_dbfs: Annotated[tuple[Decibels, Decibels], Ordered] = (-60.0, -10.0)
    hum: Probability = 0.0
    hum_dbfs: Annotated[tuple[Decibels, Decibels], Ordered] = (-60.0, -30.0)
    clipping_prob: Probability = 0.0
    clipping_db: Annotated[tuple[_BelowPeak, _BelowPeak], Ordered] = (-15.0, -1.0)
    opus_prob: Probability = 0.0
    mp3_prob: Probability = 0.0
    g711_prob: Probability = 0.0
    codec_kbps: Annotated[tuple[_Kbps, _Kbps], Ordered] = (24.0, 64.0)
    no_noise: Probability = 0.0
    no_speech: Probability = 0.0
    noise_weights: dict[Text, NonNegative] = field(default_factory=dict)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for names in (
            ("babble", "synthetic", "granular_prob"),
            ("opus_prob", "mp3_prob", "g711_prob"),
            ("no_noise", "no_speech"),
        ):
            total = sum(getattr(self, name) for name in names)
            if total > 1 + 1e-9:
                raise ValueError(f"{' + '.join(names)}: expected at most 1 together, got {total:g}")
        return self

    @property
    def samples(self) -> int:
        """The length of an example in samples at 16 kHz."""
        return round(self.seconds * SAMPLE_RATE_HZ)


def rms(samples: _Samples) -> float:
    """Return the root mean square of samples ``(samples,)``, or 0 if there are none."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def mix_at(speech: _Samples, noise: _Samples, snr_db: float) -> _Samples:
    """Scale noise so that the powers of speech and noise over all samples have the ratio ``snr_db``.

    A constant offset does not count in the powers, since a high-pass removes it before the network. The noise is
    returned unchanged if the speech or the noise is silent.

    Args:
        speech: float32, ``(samples,)``.
        noise: float32, ``(samples,)``.
        snr_db: signal-to-noise ratio in dB.

    Returns:
        The scaled noise, float32, ``(samples,)``.
    """
    power, noise_power = (rms(samples - samples.mean(dtype=np.float64)) for samples in (speech, noise))
    if power < TINY or noise_power < TINY:
        return noise
    scaled: _Samples = noise * np.float32(power / noise_power * 10 ** (-snr_db / 20))
    return scaled


def cut(samples: _Samples, length: int, random: np.random.Generator) -> _Samples:
    """Cut ``length`` samples from a random place of a signal.

    A signal that is shorter is repeated, beginning at a random place, until it fills ``length``.
    """
    start = int(random.integers(max(1, len(samples) - length + 1)))
    if len(samples) >= length:
        return samples[start : start + length]
    turned = np.roll(samples, -int(random.integers(len(samples))))
    return np.asarray(np.resize(turned, length), np.float32)


def change_speed(samples: _Samples, factor: float) -> _Samples:
    """Resample a signal so that it plays faster (factor above 1) or slower. Its pitch changes by the same factor."""
    if factor == 1.0:
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ, quality="MQ"), np.float32)


def equalize(samples: _Samples, range_db: float, random: np.random.Generator) -> _Samples:
    """Apply a random smooth zero-phase filter.

    Its gains at six frequencies, about an octave apart, are random within ± ``range_db``. Between these frequencies the
    gain in dB is linear in the logarithm of frequency.
    """
    if range_db == 0.0:
        return samples
    size = _transform_size(len(samples))
    gains_db = random.uniform(-range_db, range_db, len(_CORNERS_HZ))
    gain = 10 ** (np.interp(_log_frequencies(size), np.log(_CORNERS_HZ), gains_db) / 20)
    return _filtered(samples, gain, size)


@lru_cache(maxsize=4)
def _log_frequencies(size: int) -> NDArray[np.float64]:
    """Return the logarithm of each frequency of a transform, where frequencies below 1 Hz count as 1 Hz."""
    return np.asarray(np.log(np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ), 1.0)))


def band_limit(samples: _Samples, cutoff_hz: float) -> _Samples:
    """Remove frequencies above ``cutoff_hz`` with a zero-phase filter.

    The gain falls linearly from 1 at the cutoff to 0 at 1.1 times the cutoff.
    """
    frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
    return _filtered(samples, np.clip((1.1 * cutoff_hz - frequencies) / (0.1 * cutoff_hz), 0.0, 1.0), len(samples))


def _transform_size(length: int) -> int:
    """Return the smallest power of two that is at least ``length``.

    A transform whose size has large prime factors takes forty times as long.
    """
    return 1 << max(0, length - 1).bit_length()


def _filtered(samples: _Samples, gain: NDArray[np.float64], size: int) -> _Samples:
    """Multiply the spectrum of samples, padded with zeros to ``size``, by a gain for each frequency."""
    spectrum = np.fft.rfft(samples, size) * gain.astype(np.float32)
    return np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)


def diffuse_response(random: np.random.Generator) -> _Samples:
    """Draw the impulse response of an artificial room to a distant source, float32, ``(samples,)``.

    It is noise that decays by 60 dB within 0.2 to 1.2 s, without a direct sound. This models a source beyond the
    critical distance, where reflections are louder than the direct sound.
    """
    seconds = random.uniform(0.2, 1.2)
    size = round(seconds * SAMPLE_RATE_HZ)
    decay = 10 ** (-3 * np.arange(size, dtype=np.float32) / np.float32(size))
    response: _Samples = random.standard_normal(size, np.float32) * decay
    return response


def direct_sound(response: _Samples) -> int:
    """Return the index of the direct sound of a room response: the first sample within 20 dB of the strongest.

    ISO 3382-1 defines the start of a response so. The strongest sample may be a sum of reflections.
    """
    level = np.abs(response)
    return int(np.argmax(level >= 0.1 * level.max()))


def reverberate(samples: _Samples, response: _Samples, start: int | None = None) -> _Samples:
    """Convolve a signal with the impulse response of a room. The result has the length of the signal.

    Args:
        samples: float32, ``(samples,)``.
        response: float32, ``(samples,)``, at the same sample rate.
        start: the sample of the response that gets a delay of zero. Earlier samples are not used. By default it is the
            strongest sample, the first of equals.
    """
    response = response[int(np.argmax(np.abs(response))) if start is None else start :]
    size = _transform_size(len(samples) + len(response) - 1)
    product = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: len(samples)].astype(np.float32)


def early_part(response: _Samples, early_ms: float) -> _Samples:
    """Return the early part of a room response that begins with the direct sound.

    The part is unchanged for ``early_ms``, and fades out within the next 5 ms. Listeners do not hear reflections within
    about 50 ms as separate sounds. Such reflections support the speech.

    Args:
        response: the impulse response from the direct sound on, float32, ``(samples,)``, at 16 kHz.
        early_ms: length of the part in ms, without the fade.

    Returns:
        The part, float32.
    """
    whole, fade = max(1, round(early_ms * SAMPLE_RATE_HZ / 1000)), round(_EARLY_FADE_SECONDS * SAMPLE_RATE_HZ)
    early: _Samples = response[: whole + fade].copy()
    falling = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fade + 1) / (fade + 1))
    early[whole:] *= falling[: max(0, len(early) - whole)].astype(np.float32)
    return early
