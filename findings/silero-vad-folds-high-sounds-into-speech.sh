#!/usr/bin/env bash
# silero-vad finds speech in sounds that nobody speaks and hardly anybody hears: a recording at 48 kHz is not filtered.
#
# One would guess: get_speech_timestamps(..., sampling_rate=48000) converts the recording to 16 kHz, as a resampler does.
# The warning says that it is "cast" to 16 kHz.
# What happens: it takes every third sample. What lies above 8 kHz is folded into the speech band and judged there. A
# voice moved to 16 kHz, with nothing left below 10 kHz, gives the same timestamps as the voice itself. After a resampler
# there is nothing, and no speech is found. So hiss, whistles and switching noise above 8 kHz count at 48 kHz.
#
# Versions: silero-vad 6.2.3, torch 2.13.0, soxr 1.1.0, numpy 2.4.6, scipy 1.17.1. Date: 2026-11-28.
# Output seen:
#   the voice at 48 kHz: [(10848, 30624)]
#   the same moved to 16 kHz: 0.000 % of its power is below 8 kHz
#   at 48 kHz: [(10848, 30624)], the same as the voice: True
#   resampled to 16 kHz: []
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q silero-vad==6.2.3 torch==2.13.0 soxr==1.1.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import soxr
import torch
from scipy.signal import lfilter
from silero_vad import get_speech_timestamps, load_silero_vad

RATE, SECONDS = 48000, 6
FORMANTS = ((700, 1200, 2600), (300, 2200, 3000), (500, 900, 2400), (350, 800, 2300), (450, 1800, 2500))


def voice():
    """Vowels of a quarter of a second, with pauses."""
    random, time_s = np.random.default_rng(0), np.arange(RATE * SECONDS) / RATE
    pitch_hz = 120 + 25 * np.sin(2 * np.pi * 0.7 * time_s) + 10 * np.sin(2 * np.pi * 3.1 * time_s)
    pulses = np.diff(np.floor(np.cumsum(pitch_hz) / RATE), prepend=0) + 0.002 * random.standard_normal(len(time_s))
    size, sound = RATE // 4, np.zeros(len(time_s))
    for number in range(SECONDS * 4):
        if number % 6 == 5:
            continue
        vowel = pulses[number * size : (number + 1) * size]
        for formant, width in zip(FORMANTS[number * 3 % 5], (80, 100, 120)):
            pole = np.exp(-np.pi * width / RATE)
            vowel = lfilter([1 - pole], [1, -2 * pole * np.cos(2 * np.pi * formant / RATE), pole**2], vowel)
        sound[number * size : (number + 1) * size] = vowel * np.hanning(size) ** 0.5
    spectrum = np.fft.rfft(0.1 * sound / sound.std())
    spectrum[np.fft.rfftfreq(len(sound), 1 / RATE) > 6000] = 0
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)


def found(samples, rate):
    return [(part["start"], part["end"]) for part in get_speech_timestamps(torch.from_numpy(samples), model, sampling_rate=rate)]


torch.set_num_threads(1)
model = load_silero_vad()
heard = voice()
moved = (heard * np.cos(2 * np.pi * 16000 * np.arange(len(heard)) / RATE)).astype(np.float32)
power = np.abs(np.fft.rfft(moved)) ** 2
below = power[np.fft.rfftfreq(len(moved), 1 / RATE) < 8000].sum() / power.sum()
as_voice, as_moved, resampled = found(heard, RATE), found(moved, RATE), found(soxr.resample(moved, RATE, 16000), 16000)
print(f"the voice at 48 kHz: {as_voice}")
print(f"the same moved to 16 kHz: {below:.3%} of its power is below 8 kHz".replace("%", " %"))
print(f"at 48 kHz: {as_moved}, the same as the voice: {as_moved == as_voice}")
print(f"resampled to 16 kHz: {resampled}")
if not (as_voice and as_moved == as_voice and not resampled and below < 1e-6):
    sys.exit("changed: high sounds are filtered out")
PYTHON
