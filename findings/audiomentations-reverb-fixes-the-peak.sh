#!/usr/bin/env bash
# audiomentations: ApplyImpulseResponse sets the peak to 0.5, whatever comes in, and keeps the response's delay.
#
# One would guess: reverberation adds to the sound, so softer speech comes out softer, and softer responses too.
# What happens: the result is scaled until its largest sample is 0.5. Speech of -33 dBFS and of -73 dBFS comes out
# alike, at -21 dBFS. So an augmentation of the level before it has no effect, and noise that was scaled to an SNR
# before does not fit any more. The sound also comes as late as the direct sound stands in the response, while the
# length is kept, so a clean target is earlier: by 20 ms for a talker 7 m away. Set the level again afterwards, and cut
# off what stands before the response's largest sample.
#
# Versions: audiomentations 0.43.1, soundfile 0.14.0, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   -33 dBFS in, response room: peak 0.500, -21 dBFS out, 20 ms late
#   -33 dBFS in, response softer: peak 0.500, -21 dBFS out, 20 ms late
#   -73 dBFS in, response room: peak 0.500, -21 dBFS out, 20 ms late
#   -73 dBFS in, response softer: peak 0.500, -21 dBFS out, 20 ms late
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q audiomentations==0.43.1 soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import soundfile
from audiomentations import ApplyImpulseResponse


def voice(rate: int = 16000) -> np.ndarray:
    """Four seconds of a made voice: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * rate) / rate
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / rate
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


random = np.random.default_rng(0)
response = np.zeros(8000, np.float32)
response[320:] = 0.01 * random.standard_normal(7680) * np.exp(-np.arange(7680) / 1000)
response[320] = 0.3
soundfile.write("room.wav", response, 16000, subtype="FLOAT")
soundfile.write("softer.wav", 0.01 * response, 16000, subtype="FLOAT")
clean = voice()
results = []
for gain in (1, 0.01):
    for name in ("room", "softer"):
        result = ApplyImpulseResponse(f"{name}.wav", p=1.0)(gain * clean, sample_rate=16000)
        level, peak = 10 * np.log10(np.mean((gain * clean) ** 2)), np.abs(result).max()
        found = 10 * np.log10(np.mean(result**2))
        late = int(np.argmax([clean[: clean.size - lag] @ result[lag:] for lag in range(1000)]))
        print(f"{level:.0f} dBFS in, response {name}: peak {peak:.3f}, {found:.0f} dBFS out, {late / 16:g} ms late")
        results.append(result)
        if abs(peak - 0.5) > 1e-3 or late != 320:
            sys.exit("changed: the level is kept, or the delay is taken out")
if max(np.abs(result - results[0]).max() for result in results) > 1e-3:
    sys.exit("changed: the results differ")
PYTHON
