#!/usr/bin/env bash
# lhotse: reverb_rir(normalize_output=False) gives the sound 90 dB too soft: every response is divided by 32768.
#
# One would guess: without normalization the sound is convolved with the response as it stands in the file. A unit
# impulse changes nothing, and a talker far away is softer than a near one.
# What happens: the response is multiplied by 2^-15, as if it came from a file of 16-bit integers. But lhotse reads
# files as floats from -1 to 1. A unit impulse in a WAV file of floats or of 16 bits makes the sound 90.3 dB softer.
# Saved with 16 bits, nothing but the last bit is left. By default (normalize_output=True) nobody sees it, as the sound
# is brought back to its level before. That loses the differences of level between the responses. Multiply by 32768 to
# have them.
#
# Versions: lhotse 1.33.0, soundfile 0.14.0, torch 2.14.1, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   impulse of 0.999 in FLOAT: normalized 0.0 dB, not normalized -90.3 dB
#   impulse of 0.1 in FLOAT: normalized 0.0 dB, not normalized -110.3 dB
#   the last one saved with 16 bits: peak 1
#   impulse of 0.999 in PCM_16: normalized 0.0 dB, not normalized -90.3 dB
#   impulse of 0.1 in PCM_16: normalized 0.0 dB, not normalized -110.3 dB
#   the last one saved with 16 bits: peak 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q lhotse==1.33.0 soundfile==0.14.0 torch==2.14.1 numpy==2.4.6 urllib3==2.8.0
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import math
import sys

import numpy as np
import soundfile
from lhotse import Recording


def voice(rate: int = 16000) -> np.ndarray:
    """Four seconds of a made voice: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * rate) / rate
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / rate
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def gain_db(before: np.ndarray, after: np.ndarray) -> float:
    return 20 * math.log10(np.linalg.norm(after) / np.linalg.norm(before))


clean = voice()
soundfile.write("voice.wav", clean, 16000, subtype="FLOAT")
cut = Recording.from_file("voice.wav").to_cut()
as_described = True
for subtype in ("FLOAT", "PCM_16"):
    for level, name in ((0.999, "near"), (0.1, "far")):
        response = np.zeros(1600, np.float32)
        response[0] = level
        soundfile.write(f"{name}.wav", response, 16000, subtype=subtype)
        rir = Recording.from_file(f"{name}.wav")
        plain = cut.reverb_rir(rir, normalize_output=False)
        normal = gain_db(clean, cut.reverb_rir(rir).load_audio()[0])
        found = gain_db(clean, plain.load_audio()[0])
        print(f"impulse of {level} in {subtype}: normalized {abs(normal):.1f} dB, not normalized {found:.1f} dB")
        as_described &= abs(normal) < 0.1 and abs(found - 20 * math.log10(level / 32768)) < 0.1
    saved = f"saved_{subtype}.wav"
    soundfile.write(saved, plain.load_audio()[0], 16000)
    peak = int(np.abs(soundfile.read(saved, dtype="int16")[0]).max())
    print(f"the last one saved with 16 bits: peak {peak}")
    as_described &= peak <= 1
if not as_described:
    sys.exit("changed: an impulse of 1 leaves the level as it is")
PYTHON
