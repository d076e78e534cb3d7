#!/usr/bin/env bash
# noisereduce: the stationary reduction takes a part of the lowest voice away, even with prop_decrease=0.
#
# One would guess: prop_decrease=0 means no reduction, so the sound comes back as it is. With stationary=False it does.
# What happens: the mask is smoothed over frequency and time, and beyond its edges it counts as 0. So all below 200 Hz
# is softer: by 1.7 dB at 100 Hz and 2.8 dB at 60 Hz, and so is the band's upper end. The SNR of a low voice against
# itself is 19 dB, with nothing to reduce. With freq_mask_smooth_hz=None and time_mask_smooth_ms=None nothing is
# smoothed, and the sound comes back exactly.
#
# Versions: noisereduce 3.0.3, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   60 Hz: stationary -2.8 dB, not stationary 0.0 dB
#   100 Hz: stationary -1.7 dB, not stationary 0.0 dB
#   200 Hz: stationary -0.2 dB, not stationary 0.0 dB
#   1000 Hz: stationary 0.0 dB, not stationary 0.0 dB
#   7900 Hz: stationary -1.7 dB, not stationary 0.0 dB
#   voice: SNR 19 dB
#   voice, not smoothed: SNR 99 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q noisereduce==3.0.3 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
from noisereduce import reduce_noise


def voice(rate: int = 16000) -> np.ndarray:
    """Four seconds of a made voice: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * rate) / rate
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / rate
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def gain_db(before: np.ndarray, after: np.ndarray) -> float:
    return 10 * np.log10(np.sum(after**2) / np.sum(before**2))


time_s = np.arange(4 * 16000) / 16000
middle, gains = slice(16000, 48000), {}
for frequency in (60, 100, 200, 1000, 7900):
    tone = (0.1 * np.sin(2 * np.pi * frequency * time_s)).astype(np.float32)
    both = [reduce_noise(tone, 16000, stationary=kind, prop_decrease=0.0) for kind in (True, False)]
    gains[frequency] = [gain_db(tone[middle], each[middle]) for each in both]
    print(f"{frequency} Hz: stationary {gains[frequency][0]:.1f} dB, not stationary {gains[frequency][1]:.1f} dB")
sound = voice()
snrs = []
for note, options in (("", {}), (", not smoothed", {"freq_mask_smooth_hz": None, "time_mask_smooth_ms": None})):
    result = reduce_noise(sound, 16000, stationary=True, prop_decrease=0.0, **options)
    snrs.append(10 * np.log10(np.sum(sound**2) / max(np.sum((result - sound) ** 2), 1e-12)))
    print(f"voice{note}: SNR {min(snrs[-1], 99):.0f} dB")
low = gains[60][0] < -2 and gains[100][0] < -1 and abs(gains[1000][0]) < 0.1
if not (low and all(abs(each) < 0.1 for _, each in gains.values()) and snrs[0] < 30 < 90 < snrs[1]):
    sys.exit("changed: without a reduction the sound comes back as it is")
PYTHON
