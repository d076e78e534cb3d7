#!/usr/bin/env bash
# logmmse: every full minute of a recording makes the output 20 ms shorter, so the sound comes earlier and earlier.
#
# One would guess: a noise suppressor for whole recordings keeps the time. A few samples may be missing at the end.
# What happens: a recording is worked on in pieces of 60 s. Each piece comes out one window (20 ms) short, and the
# pieces are put one after the other. So the sound is in time in the first minute, 20 ms early in the second, and nearly
# 0.2 s early at the end of ten minutes. Captions and a clean target no longer fit. A test with a short recording shows
# nothing but a missing end. No argument turns this off. A window of half the size, window_size=160, halves it.
# To keep the time, call the function on pieces of a minute, and add what is missing to each.
#
# Versions: logmmse 1.5, scipy 1.17.1, numpy 2.4.6. Date: 2026-12-01.
# Output seen (soft noise with a short tone of 440 Hz in every minute, 10 minutes at 16 kHz):
#   9600000 samples in, 9596800 samples out
#   tone at 0 min 30 s: 0.0 ms early
#   tone at 1 min 30 s: 20.0 ms early
#   tone at 2 min 30 s: 40.0 ms early
#   tone at 5 min 30 s: 100.0 ms early
#   tone at 9 min 30 s: 180.0 ms early
#   with window_size=160, tone at 9 min 30 s: 90.0 ms early
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q logmmse==1.5 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
from logmmse import logmmse

RATE = 16000
MINUTES = 10

tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE // 20) / RATE)
sound = 0.003 * np.random.default_rng(0).standard_normal(MINUTES * 60 * RATE)
for minute in range(MINUTES):
    start = (60 * minute + 30) * RATE
    sound[start : start + len(tone)] += tone
sound = sound.astype(np.float32)


def early(found, minute):
    """Milliseconds by which the tone of a minute comes earlier in found than in sound, between -0.5 and 0.5 s."""
    start = (60 * minute + 30) * RATE
    near = found[start - RATE // 2 : start + RATE // 2 + len(tone)]
    return 500 - 1000 * np.argmax(np.correlate(near, tone.astype(np.float32), "valid")) / RATE


found = logmmse(sound, RATE)
print(f"{len(sound)} samples in, {len(found)} samples out")
as_described = True
for minute in (0, 1, 2, 5, 9):
    before = early(found, minute)
    print(f"tone at {minute} min 30 s: {before:.1f} ms early")
    as_described &= abs(before - 20 * minute) < 2
before = early(logmmse(sound, RATE, window_size=160), 9)
print(f"with window_size=160, tone at 9 min 30 s: {before:.1f} ms early")
as_described &= abs(before - 90) < 2
if not as_described:
    sys.exit("changed: the sound is in time, or early by another measure")
PYTHON
