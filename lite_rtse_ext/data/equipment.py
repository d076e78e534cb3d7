"""What equipment does to an example: microphones, band limits, electrical faults, clipping and codecs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.resampling import resample
from lite_rtse_ext.data import textures
from lite_rtse_ext.data.mixing import MixingOptions, band_limit, reverberate
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["CODECS", "clip", "encode", "limit_to_telephone", "microphone", "record", "require_codecs"]

_Samples = NDArray[np.float32]
_TELEPHONE_HZ = 8000
_RINGING = 4096
"""Samples after which the impulse response of a microphone has died away."""


class _Codec(NamedTuple):
    """How libsndfile names a codec, and the bit rates in kbit/s of its compression levels 0 and 1, if it has any."""

    format: str
    subtype: str
    kbps: tuple[float, float] | None = None
    mode: str | None = None


CODECS = {
    "opus": _Codec("OGG", "OPUS", (256.0, 6.0)),
    "mp3": _Codec("MP3", "MPEG_LAYER_III", (160.0, 8.0), "AVERAGE"),  # at a constant rate it may keep its delay
    "alaw": _Codec("WAV", "ALAW"),
    "mulaw": _Codec("WAV", "ULAW"),
}
"""The codecs of :func:`encode`, by name."""
_G711 = ("alaw", "mulaw")


def record(
    noisy: _Samples, clean: _Samples, options: MixingOptions, random: np.random.Generator
) -> tuple[_Samples, _Samples]:
    """Apply the equipment that the options describe, in the order in which a signal passes it.

    Filters change both signals alike. Faults and codecs change the noisy signal alone.

    Args:
        noisy: speech and noise, float32, ``(samples,)`` at 16 kHz.
        clean: the clean signal of it, float32, ``(samples,)``.
        options: which equipment there is.
        random: the generator of all draws. An option with probability 0 draws nothing that others would miss.

    Returns:
        The noisy and the clean signal. The noisy one does not exceed full scale.
    """
    if _drawn(options.microphone_prob, random):
        noisy, clean = microphone((noisy, clean), options.microphone_db, random)
    if random.random() < options.band_limit:
        cutoff_hz = random.uniform(*options.band_limit_hz)
        noisy, clean = band_limit(noisy, cutoff_hz), band_limit(clean, cutoff_hz)
    if random.random() < options.offset:
        level = random.choice((-1.0, 1.0)) * 10 ** (random.uniform(*options.offset_dbfs) / 20)
        noisy = noisy + np.float32(level)
    if random.random() < options.hum:
        level = 10 ** (random.uniform(*options.hum_dbfs) / 20)
        noisy = noisy + np.float32(level) * textures.hum(len(noisy), random)
    if _drawn(options.clipping_prob, random):
        noisy = clip(noisy, random.uniform(*options.clipping_db))
    noisy, clean = _in_range(noisy, clean)
    codec = _any_codec(options, random)
    if codec is None:
        return noisy, clean
    noisy = encode(noisy, codec, random.uniform(*options.codec_kbps))
    return _in_range(noisy, limit_to_telephone(clean) if codec in _G711 else clean)


def _drawn(chance: float, random: np.random.Generator) -> bool:
    """Draw whether something happens. Nothing is drawn if it never does."""
    return chance > 0 and random.random() < chance


def _in_range(noisy: _Samples, clean: _Samples) -> tuple[_Samples, _Samples]:
    """Scale both signals so that the noisy one does not exceed full scale."""
    peak = np.float32(max(1.0, float(np.abs(noisy).max())))
    return noisy / peak, clean / peak


def microphone(signals: Sequence[_Samples], range_db: float, random: np.random.Generator) -> tuple[_Samples, ...]:
    """Filter signals by the response of one random microphone.

    The response is a low shelf at 60 to 400 Hz, a high shelf at 2 to 6 kHz, and two peaks at 200 Hz to 6 kHz. Each has
    a random gain within ± ``range_db``. It is a causal filter of minimum phase and eighth order.

    Args:
        signals: float32, ``(samples,)`` each, all of one length, at 16 kHz.
        range_db: largest gain of each part in dB, up or down.
        random: the generator of all draws.

    Returns:
        The filtered signals.
    """
    impulse = np.fft.irfft(_response(random, range_db)).astype(np.float32)
    return tuple(reverberate(each, impulse, 0) for each in signals)


def _response(random: np.random.Generator, range_db: float) -> NDArray[np.complex128]:
    """Draw the response of a microphone at the frequencies of a transform of ``_RINGING`` samples."""
    warped = np.tan(np.pi * np.arange(_RINGING // 2 + 1) / _RINGING)  # of the bilinear transform

    def part(low_hz: float, high_hz: float) -> tuple[NDArray[np.complex128], float, float]:
        """Draw a corner frequency, and return s = jω/ω₀ with the square root of a gain and a quality."""
        corner_hz = low_hz * (high_hz / low_hz) ** random.random()
        s = 1j * warped / np.tan(np.pi * corner_hz / SAMPLE_RATE_HZ)
        return s, 10 ** (random.uniform(-range_db, range_db) / 40), random.uniform(0.5, 1.2)

    low, high = part(60, 400), part(2000, 6000)
    s, root, quality = high
    response = _low_shelf(*low) * root**2 * _low_shelf(s, 1 / root, quality)
    for s, root, quality in (part(200, 6000), part(200, 6000)):
        response *= (s * s + s * (root / quality) + 1) / (s * s + s / (root * quality) + 1)
    return response


def _low_shelf(s: NDArray[np.complex128], root: float, quality: float) -> NDArray[np.complex128]:
    slope = s * (np.sqrt(root) / quality)
    return np.asarray(root * (s * s + slope + root) / (root * s * s + slope + 1))


def clip(samples: _Samples, level_db: float) -> _Samples:
    """Clip a signal at a level in dB relative to its peak, float32, ``(samples,)``."""
    limit = np.float32(np.abs(samples).max() * 10 ** (level_db / 20))
    return np.clip(samples, -limit, limit)


def _any_codec(options: MixingOptions, random: np.random.Generator) -> str | None:
    """Draw the codec of an example, or none. Nothing is drawn if all are off."""
    chances = {"opus": options.opus_prob, "mp3": options.mp3_prob}
    chances |= dict.fromkeys(_G711, options.g711_prob / len(_G711))
    what = random.random() if any(chances.values()) else 1.0
    for name, chance in chances.items():
        if what < chance:
            return name
        what -= chance
    return None


def require_codecs(options: MixingOptions) -> None:
    """Check that libsndfile has the codecs that the options ask for.

    Raises:
        RuntimeError: it lacks one. The message names the option.
    """
    for option, name in (("opus_prob", "opus"), ("mp3_prob", "mp3")):
        codec = CODECS[name]
        has = codec.format in sf.available_formats() and codec.subtype in sf.available_subtypes(codec.format)
        if getattr(options, option) > 0 and not has:
            raise RuntimeError(
                f"{option}: expected 0, as libsndfile {sf.__libsndfile_version__} has no {codec.subtype}, "
                f"got {getattr(options, option):g}"
            )


def encode(samples: _Samples, name: str, kbps: float = 32.0) -> _Samples:
    """Encode a signal by a codec of libsndfile, in memory, and decode it. The result has no delay.

    On one core 2.5 s take 0.7 ms with G.711, 12 ms with MP3, and 30 to 60 ms with Opus. The other steps of an example
    take 6 ms together.

    Args:
        samples: float32, ``(samples,)`` at 16 kHz, within full scale.
        name: opus, mp3, alaw or mulaw. The last two are G.711 and sample at 8 kHz.
        kbps: bit rate of Opus or MP3 in kbit/s, 12 to 128. It is approximate.

    Returns:
        As many samples.

    Raises:
        RuntimeError: libsndfile lacks the codec, or returns another number of samples.
    """
    codec = CODECS[name]
    if codec.kbps is None:
        return _as_telephone(samples, codec)
    most, least = codec.kbps
    return _round_trip(samples, SAMPLE_RATE_HZ, codec, (most - kbps) / (most - least))


def limit_to_telephone(samples: _Samples) -> _Samples:
    """Limit a signal to the band below 4 kHz, as :func:`encode` with G.711 does."""
    return _as_telephone(samples, None)


def _as_telephone(samples: _Samples, codec: _Codec | None) -> _Samples:
    narrow = resample(samples, SAMPLE_RATE_HZ, _TELEPHONE_HZ)
    if codec is not None:
        narrow = _round_trip(narrow, _TELEPHONE_HZ, codec, None)
    return np.asarray(resample(narrow, _TELEPHONE_HZ, SAMPLE_RATE_HZ)[: len(samples)], np.float32)


def _round_trip(samples: _Samples, sample_rate: int, codec: _Codec, compression: float | None) -> _Samples:
    with io.BytesIO() as file:
        sf.write(
            file,
            samples,
            sample_rate,
            codec.subtype,
            format=codec.format,
            compression_level=compression,
            bitrate_mode=codec.mode,
        )
        file.seek(0)
        decoded: _Samples = sf.read(file, dtype="float32")[0]
    if len(decoded) != len(samples):  # its delay is not known then
        raise RuntimeError(
            f"{codec.subtype}: expected {len(samples)} samples from libsndfile {sf.__libsndfile_version__}, "
            f"got {len(decoded)}"
        )
    return decoded
