#!/usr/bin/env bash
# descript-audiotools: apply_ir and convolve put the reverberation of a recording's end at its beginning.
#
# One would guess: what comes out at a time depends on what came in up to then. Silence at the start stays silence, and
# what rings on behind the end is cut off.
# What happens: the convolution is circular over the signal's length, so what should be cut off is added at the start.
# A recording with a second of silence, then speech to its end, starts with reverberation 17 dB below the speech. A
# clean target has nothing there, and nothing before tells a causal network of it. Append silence as long as the
# response before, and cut it off after: the start is then silent.
#
# Versions: descript-audiotools 0.7.2, torch 2.14.1, torchaudio 2.11.1, numpy 2.4.6. Date: 2026-11-30.
# Output seen (-99 dB and less as -99):
#   apply_ir, as it is: first 0.1 s -17 dB against the speech
#   convolve, as it is: first 0.1 s -17 dB against the speech
#   apply_ir, with silence appended: first 0.1 s -99 dB against the speech
#   convolve, with silence appended: first 0.1 s -99 dB against the speech
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q descript-audiotools==0.7.2 torch==2.14.1 torchaudio==2.11.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import torch
from audiotools import AudioSignal

RATE, SECONDS = 16000, 4


def voice() -> np.ndarray:
    """A made voice: harmonics of 95 to 145 Hz, in syllables. The first second is silent."""
    t = np.arange(SECONDS * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return 0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None) * (t > 1)


def room() -> np.ndarray:
    """A response with a reverberation time of 0.6 s and as much reverberation as direct sound."""
    t = np.arange(RATE) / RATE
    tail = np.random.default_rng(0).standard_normal(RATE) * 10 ** (-3 * t / 0.6)
    tail /= np.sqrt(np.sum(tail**2))
    tail[0] = 1
    return tail


def level(sound: np.ndarray) -> float:
    return 10 * np.log10(np.mean(sound**2) + 1e-20)


def signal(sound: np.ndarray) -> AudioSignal:
    return AudioSignal(torch.from_numpy(sound.astype(np.float32))[None, None], RATE)


def results(sound: np.ndarray) -> dict[str, np.ndarray]:
    made = {
        "apply_ir": signal(sound).apply_ir(signal(room())),
        "convolve": signal(sound).convolve(signal(room())),
    }
    return {name: result.audio_data[0, 0].numpy() for name, result in made.items()}


sound = voice()
padded = np.concatenate([sound, np.zeros(RATE)])
found = {}
for case, given in {"as it is": sound, "with silence appended": padded}.items():
    for name, result in results(given).items():
        start, speech = level(result[: RATE // 10]), level(result[RATE : SECONDS * RATE])
        print(f"{name}, {case}: first 0.1 s {max(start - speech, -99):.0f} dB against the speech")
        found[name, case] = start - speech
if not all(value > -20 if case == "as it is" else value < -90 for (_, case), value in found.items()):
    sys.exit("changed: nothing sounds before the speech")
PYTHON
