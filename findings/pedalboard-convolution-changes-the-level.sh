#!/usr/bin/env bash
# pedalboard's Convolution sets the level of every impulse response itself: a unit impulse makes the sound 18 dB softer.
#
# One would guess: it returns the convolution of the sound with the response, as numpy.convolve does. That is how one
# puts speech into rooms. The docstring says "an audio convolution", and that the response is a file or an array.
# What happens: the response is divided by its norm (the root of its energy) and multiplied by 0.125. So a unit impulse
# gives -18 dB, and a response and a tenth of it give the same. A farther talker is as loud as a near one. If the clean
# target is made with numpy from the direct part of the response, the input is too soft for it: here by 18 dB for the
# near talker and by 9 dB for the far one. The docstring does not say so, and no option turns it off. Multiplied by the
# norm and by 8, the result is the convolution.
#
# Versions: pedalboard 0.9.26, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   unit impulse: numpy 0.0 dB, pedalboard -18.1 dB
#   a tenth of it: numpy -20.0 dB, pedalboard -18.1 dB
#   room, talker near: numpy 0.0 dB, pedalboard -18.1 dB
#   room, talker far: numpy -9.3 dB, pedalboard -18.1 dB
#   largest error after the norm and 8 are multiplied in: 0.00%
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pedalboard==0.9.26 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
from pedalboard import Convolution

RATE, SIZE = 16000, 4000


def room(distance_m):
    """A direct sound that falls with the distance, and a reverberation that does not."""
    decay = np.random.default_rng(1).standard_normal(SIZE) * np.exp(-6.9 * np.arange(SIZE) / SIZE)
    response = 0.005 * decay
    response[0] = 1 / distance_m
    return response


def level_db(output):
    return 10 * np.log10(np.mean(output**2) / np.mean(sound**2))


sound = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
impulse = np.eye(1, SIZE)[0]
responses = {
    "unit impulse": impulse,
    "a tenth of it": 0.1 * impulse,
    "room, talker near": room(1.0),
    "room, talker far": room(3.0),
}
worst, as_described = 0.0, True
for name, response in responses.items():
    expected = np.convolve(sound, response)[: len(sound)]
    effect = Convolution(response.astype(np.float32)[None], mix=1.0, sample_rate=RATE)
    output = effect(sound.astype(np.float32)[None], RATE)[0]
    print(f"{name}: numpy {level_db(expected):.1f} dB, pedalboard {level_db(output):.1f} dB")
    scaled = 8 * np.linalg.norm(response) * output
    worst = max(worst, np.linalg.norm(scaled - expected) / np.linalg.norm(expected))
    as_described &= abs(level_db(output) + 18.06) < 0.2
print(f"largest error after the norm and 8 are multiplied in: {worst:.2%}")
if not as_described or worst > 1e-4:
    sys.exit("changed: the level is that of the response")
PYTHON
