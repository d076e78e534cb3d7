#!/usr/bin/env bash
# pyloudnorm: normalizing silence gives NaN samples, and a microphone's noise alone infinite ones. No exception.
#
# One would guess: silence stays silence, or is refused, as a recording below 0.4 s is, with a ValueError.
# What happens: integrated_loudness is minus infinity for silence, and for all that its gate at -70 LUFS leaves out, such
# as a microphone's noise alone. normalize.loudness multiplies by the resulting infinite gain. Zeros become NaN and all
# other samples infinite. normalize.peak of silence divides zero by zero. There is a RuntimeWarning by numpy at most.
# One such file in a training set makes the loss NaN.
#
# Versions: pyloudnorm 0.2.0, numpy 2.4.6, scipy 1.17.1. Date: 2026-11-30.
# Output seen:
#   digital silence: -inf LUFS; loudness: 0 samples are finite; peak: 0 samples are finite
#   noise of -80 dBFS: -inf LUFS; loudness: 0 samples are finite; peak: 16000 samples are finite
#   noise of -60 dBFS: -57.4 LUFS; loudness: 16000 samples are finite; peak: 16000 samples are finite
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyloudnorm==0.2.0 numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" -W ignore - >"$folder/lines" <<'PYTHON' || { cat "$folder/lines"; exit 1; }
import sys

import numpy as np
import pyloudnorm

RATE = 16000
noise = np.random.default_rng(0).standard_normal(RATE)
sounds = {"digital silence": 0 * noise, "noise of -80 dBFS": 1e-4 * noise, "noise of -60 dBFS": 1e-3 * noise}
wanted = {"digital silence": (0, 0), "noise of -80 dBFS": (0, RATE), "noise of -60 dBFS": (RATE, RATE)}
as_described = True
for name, sound in sounds.items():
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(sound)
    results = pyloudnorm.normalize.loudness(sound, loudness, -23.0), pyloudnorm.normalize.peak(sound, -1.0)
    finite = tuple(int(np.isfinite(result).sum()) for result in results)
    print(f"seen: {name}: {loudness:.1f} LUFS; loudness: {finite[0]} samples are finite; peak: {finite[1]} samples are finite")
    as_described &= finite == wanted[name]
if not as_described:
    sys.exit("changed: silence has another result")
PYTHON
sed -n 's/^seen: //p' "$folder/lines"
