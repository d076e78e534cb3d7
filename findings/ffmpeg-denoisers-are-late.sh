#!/usr/bin/env bash
# FFmpeg's denoisers afftdn and anlmdn give the sound back late, by 25 and 8 ms, with the timestamps of the input.
#
# One would guess: a filter that needs to look ahead gives fewer samples at first, or moves the timestamps, or says so.
# Many of FFmpeg's filters keep the time, as afwtdn, a third denoiser, does.
# What happens: both put out as many samples as went in, from timestamp 0, but each sound is late. The end is missing
# by as much, even after a flush. A pair of clean and denoised speech made so has an SI-SNR far below 0 dB, and denoised
# speech runs behind its video. With next to no reduction the sound comes back exact to 35 dB, if it is moved.
# The speech enhancer dialoguenhance is late by 1536 samples at any rate: 96 ms at 16 kHz and 32 ms at 48 kHz.
# Cut that much off the front, and append as much silence before.
#
# Versions: av 18.1.0 (with the FFmpeg libraries of its wheel), numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   afftdn, 16 kHz: 25 ms late, 0 samples more, from timestamp 0, SI-SNR -11 dB, moved back above 30 dB: True
#   afftdn, 48 kHz: 25 ms late, 0 samples more, from timestamp 0, SI-SNR -11 dB, moved back above 30 dB: True
#   anlmdn, 16 kHz: 8 ms late, 0 samples more, from timestamp 0, SI-SNR -8 dB, moved back above 30 dB: True
#   anlmdn, 48 kHz: 8 ms late, 0 samples more, from timestamp 0, SI-SNR -8 dB, moved back above 30 dB: True
#   dialoguenhance, 16 kHz: 96 ms late, 0 samples more, from timestamp 0, SI-SNR -42 dB, moved back above 30 dB: True
#   dialoguenhance, 48 kHz: 32 ms late, 0 samples more, from timestamp 0, SI-SNR -30 dB, moved back above 30 dB: True
#   afwtdn, 16 kHz: 0 ms late, 0 samples more, from timestamp 0, SI-SNR 54 dB, moved back above 30 dB: True
#   afwtdn, 48 kHz: 0 ms late, 0 samples more, from timestamp 0, SI-SNR 55 dB, moved back above 30 dB: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys
from fractions import Fraction

import av
import numpy as np


def voice(rate: int = 16000) -> np.ndarray:
    """Four seconds of a made voice: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * rate) / rate
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / rate
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def filtered(sound: np.ndarray, rate: int, name: str, options: str) -> tuple[np.ndarray, int]:
    """What a filter makes of a sound in blocks of 10 ms, with a flush, and the first timestamp."""
    graph, found, stamps = av.filter.Graph(), [], []
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    middle, sink = graph.add(name, options), graph.add("abuffersink")
    shape = graph.add("aformat", "sample_fmts=flt:channel_layouts=mono")
    for one, following in ((source, middle), (middle, shape), (shape, sink)):
        one.link_to(following)
    graph.configure()
    starts = range(0, sound.size, rate // 100)
    for start in [*starts, None]:
        frame = None
        if start is not None:
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + rate // 100], format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        source.push(frame)
        while True:
            try:
                result = sink.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
            found.append(result.to_ndarray()[0])
            stamps.append(result.pts)
    return np.concatenate(found), stamps[0]


def si_snr_db(clean: np.ndarray, other: np.ndarray) -> float:
    part = clean * (clean @ other / (clean @ clean))
    return 10 * np.log10(np.sum(part**2) / max(np.sum((other - part) ** 2), 1e-12))


def delay_of(clean: np.ndarray, other: np.ndarray) -> int:
    return int(np.argmax([abs(clean[: clean.size - lag] @ other[lag:]) for lag in range(2000)]))


late_ms = {"afftdn": (25, 25), "anlmdn": (8, 8), "dialoguenhance": (96, 32), "afwtdn": (0, 0)}
options = {"afftdn": "nr=0.01", "anlmdn": "s=0.00001", "afwtdn": "sigma=0.0001"}
options["dialoguenhance"] = "original=1:enhance=0"
as_described = True
for name, expected in late_ms.items():
    for rate, wanted in zip((16000, 48000), expected):
        sound = voice(rate)
        result, first = filtered(sound, rate, name, options[name])
        lag = delay_of(sound, result)
        plain, moved = si_snr_db(sound, result), si_snr_db(sound[: sound.size - lag], result[lag:])
        print(
            f"{name}, {rate // 1000} kHz: {1000 * lag / rate:g} ms late, {result.size - sound.size} samples more, "
            f"from timestamp {first}, SI-SNR {plain:.0f} dB, moved back above 30 dB: {moved > 30}"
        )
        as_described &= 1000 * lag / rate == wanted and first == 0 and result.size == sound.size and moved > 30
if not as_described:
    sys.exit("changed: the denoisers keep the time, or say that they do not")
PYTHON
