#!/usr/bin/env bash
# pyrnnoise: samples which RNNoise puts out above full scale come back with the other sign. No warning.
#
# One would guess: a denoiser's output above full scale is clipped there, as a sound card clips it.
# What happens: the library works in float32, and its output may be louder than its input. The package turns it into
# int16 with numpy's astype, which does not clip: 32968 becomes -32568. Loud speech that is clipped in 3 of 1000 samples
# gets clicks of twice full scale, 9 dB below the speech. Clipping those samples would leave an error of -50 dB.
# A peak of 0.7 of full scale is not affected. Make the input softer before, and the output louder after.
#
# Versions: pyrnnoise 0.4.5, numpy 2.4.6, on an x86-64 CPU. Date: 2026-11-30.
# Output seen:
#   0 of 1000 samples clipped in the input: 0 flipped, largest step 3915
#   3 of 1000 samples clipped in the input: 44 flipped, largest step 65422
#     error -9 dB against the speech, -50 dB if clipped
#   13 of 1000 samples clipped in the input: 185 flipped, largest step 65464
#     error -5 dB against the speech, -38 dB if clipped
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyrnnoise==0.4.5 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
from pyrnnoise import RNNoise

RATE, FULL = 48000, 32767


def voice() -> np.ndarray:
    """Four seconds of a made voice with a peak of 1: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    sound = tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)
    return sound / np.abs(sound).max()


def denoised(sound: np.ndarray) -> np.ndarray:
    frames = [frame for _, frame in RNNoise(RATE).denoise_chunk(sound, partial=True)]
    return np.concatenate(frames, axis=1)[0].astype(int)


found = {}
for gain in (0.7, 1.25, 1.5):
    sound = (np.clip(gain * voice(), -1, 1) * FULL).astype(np.int16)
    clipped = np.mean(np.abs(sound.astype(int)) == FULL)
    result = denoised(sound)
    # A neighbor of the other sign near full scale is 65536 away. At 48 kHz no voice has such a step.
    true = result.copy()
    for n in range(1, true.size):
        true[n] -= 65536 * round((true[n] - true[n - 1]) / 65536)
    flipped, within = true != result, np.clip(true, -FULL, FULL)
    by_flip, by_clip = (
        10 * np.log10(np.mean((kept - true) ** 2.0) / np.mean(true**2.0) + 1e-9) for kept in (result, within)
    )
    largest = np.abs(np.diff(result)).max()
    print(f"{1000 * clipped:.0f} of 1000 samples clipped in the input: {flipped.sum()} flipped, largest step {largest}")
    if flipped.any():
        print(f"  error {by_flip:.0f} dB against the speech, {by_clip:.0f} dB if clipped")
    found[gain] = flipped.sum(), largest
if found[0.7][0] or not all(found[gain][0] > 20 and found[gain][1] > 60000 for gain in (1.25, 1.5)):
    sys.exit("changed: loud samples keep their sign")
PYTHON
