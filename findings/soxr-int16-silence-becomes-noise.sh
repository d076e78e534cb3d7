#!/usr/bin/env bash
# soxr turns digital silence of 16-bit samples into noise.
#
# One would guess: silence stays silence when it is resampled, and a sound that keeps its rate stays as it is.
# What happens: for int16 samples soxr adds dither before it rounds, and no argument turns that off. Nearly a quarter of
# the zeros become 1 or -1. This holds for equal rates, too: a quarter of a tone's samples change. So a test for digital
# silence, or a comparison of samples, fails after a resampling that has nothing to do.
# With int32 or float32 the same zeros stay zeros, and the same tone stays exact.
#
# Versions: soxr 1.1.0, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   int16, 48000 to 16000 Hz: silence becomes [-1, 0, 1], 23% not zero
#   int16, 16000 to 48000 Hz: silence becomes [-1, 0, 1], 23% not zero
#   int16, 16000 to 16000 Hz: silence becomes [-1, 0, 1], 23% not zero
#   int16, 16000 to 16000 Hz: 25% of a tone's samples change
#   int32, 48000 to 16000 Hz: silence becomes [0], 0% not zero
#   int32, 16000 to 48000 Hz: silence becomes [0], 0% not zero
#   int32, 16000 to 16000 Hz: silence becomes [0], 0% not zero
#   int32, 16000 to 16000 Hz: 0% of a tone's samples change
#   float32, 48000 to 16000 Hz: silence becomes [0], 0% not zero
#   float32, 16000 to 48000 Hz: silence becomes [0], 0% not zero
#   float32, 16000 to 16000 Hz: silence becomes [0], 0% not zero
#   float32, 16000 to 16000 Hz: 0% of a tone's samples change
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q soxr==1.1.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import soxr

silence = np.zeros(48000, np.int16)
tone = np.round(8000 * np.sin(np.arange(48000) / 9)).astype(np.int16)
as_described = True
for kind in (np.int16, np.int32, np.float32):
    name = kind.__name__
    for source, target in ((48000, 16000), (16000, 48000), (16000, 16000)):
        resampled = soxr.resample(silence.astype(kind), source, target)
        share = np.mean(resampled != 0)
        values = [int(value) for value in np.unique(resampled)]
        print(f"{name}, {source} to {target} Hz: silence becomes {values}, {share:.0%} not zero")
        as_described &= (0.15 < share < 0.35 and values == [-1, 0, 1]) if kind is np.int16 else share == 0
    changed = np.mean(soxr.resample(tone.astype(kind), 16000, 16000) != tone)
    print(f"{name}, 16000 to 16000 Hz: {changed:.0%} of a tone's samples change")
    as_described &= 0.15 < changed < 0.35 if kind is np.int16 else changed == 0
if not as_described:
    sys.exit("changed: int16 silence stays silent, or another type has noise")
PYTHON
