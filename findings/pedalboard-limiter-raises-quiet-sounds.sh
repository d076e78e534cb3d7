#!/usr/bin/env bash
# pedalboard: a Limiter makes quiet sounds louder, by 4 dB at a threshold of 0 dB and by 24 dB at -20 dB.
#
# One would guess: a limiter leaves alone what stays below its threshold, so one at 0 dB does nothing to a quiet sound.
# What happens: every sound gets a gain that grows as the threshold falls, and full scale is where its peaks end. At 0 dB
# a sine of amplitude 0.01 becomes 0.015, at -20 dB it becomes 0.154. A sine of full scale becomes 0.66 at 0 dB, where it
# is softer than before, and 1.0 at -20 dB. So a limiter at the end of a chain for speech raises its noise floor, and
# a level measured after it is not the level before. A Compressor with a ratio of 1 and a Gain of 0 dB change nothing.
#
# Versions: pedalboard 0.9.26, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   threshold 0 dB: amplitude 0.01 becomes 0.015, 0.1 becomes 0.154, 1 becomes 0.663
#   threshold -6 dB: amplitude 0.01 becomes 0.031, 0.1 becomes 0.307, 1 becomes 1.000
#   threshold -20 dB: amplitude 0.01 becomes 0.154, 0.1 becomes 1.000, 1 becomes 1.000
#   compressor with ratio 1: amplitude 0.01 becomes 0.010, 0.1 becomes 0.100, 1 becomes 1.000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pedalboard==0.9.26 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
from pedalboard import Compressor, Limiter

sine = np.sin(2 * np.pi * 440 * np.arange(32000) / 16000).astype(np.float32)


def amplitudes(effect: object) -> list[float]:
    """The largest values of sines of 0.01, 0.1 and 1, after the first second."""
    return [float(np.abs(effect.process(np.float32(a) * sine, 16000)[16000:]).max()) for a in (0.01, 0.1, 1)]


def line(name: str, found: list[float]) -> str:
    return f"{name}: amplitude 0.01 becomes {found[0]:.3f}, 0.1 becomes {found[1]:.3f}, 1 becomes {found[2]:.3f}"


expected = {0: (0.0154, 0.154, 0.663), -6: (0.0307, 0.307, 1.0), -20: (0.154, 1.0, 1.0)}
as_described = True
for threshold, values in expected.items():
    found = amplitudes(Limiter(threshold_db=threshold))
    print(line(f"threshold {threshold} dB", found))
    as_described &= np.allclose(found, values, rtol=0.03)
found = amplitudes(Compressor(threshold_db=0, ratio=1))
print(line("compressor with ratio 1", found))
if not as_described or not np.allclose(found, (0.01, 0.1, 1), rtol=0.01):
    sys.exit("changed: the limiter has another gain")
PYTHON
