#!/usr/bin/env bash
# speechmos: DNSMOS does not hear the end of a recording, up to 2 seconds of it. Noise there changes no score.
#
# One would guess: a recording longer than the network's 9.01 s is covered by windows from its first to its last sample.
# What happens: the windows start at full seconds, and their number is that of the full seconds less 9.01, rounded down,
# plus 1. So nothing after 9.01 s is heard until the recording has 11 s. From 10 s on, every recording loses 0.99 to
# 1.99 s. A clip of 10.9 s whose last 1.9 s are loud noise gets the same scores to the last digit.
# A denoiser that fails late in a recording is not found out. Judge the last 9.01 s apart to hear the end as well.
#
# Versions: speechmos 0.0.1.1, onnxruntime 1.32.0, librosa 0.11.0, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   9.9 s, noise in the last 0.9 s: the scores change by 0.00
#   10.9 s, noise in the last 1.9 s: the scores change by 0.00
#   11.9 s, noise in the last 1.9 s: the scores change by 0.00
#   11.0 s, noise in the last 2.0 s: the scores change by 1.15
#   9.0 s, noise in the last 0.8 s: the scores change by 2.31
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q speechmos==0.0.1.1 onnxruntime==1.32.0 librosa==0.11.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
from speechmos import dnsmos


def voice(rate: int = 16000) -> np.ndarray:
    """Twelve seconds of a made voice: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(12 * rate) / rate
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / rate
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def scores(sound: np.ndarray) -> list[float]:
    found = dnsmos.run(sound, sr=16000)
    return [float(found[name]) for name in ("sig_mos", "bak_mos", "ovrl_mos")]


random = np.random.default_rng(0)
sound = voice()
as_described = True
cases = ((9.9, 9.02, True), (10.9, 9.02, True), (11.9, 10.02, True), (11.0, 9.02, False), (9.0, 8.2, False))
for seconds, start, unheard in cases:
    clean = sound[: round(16000 * seconds)]
    spoiled, begin = clean.copy(), round(16000 * start)
    spoiled[begin:] += (0.2 * random.standard_normal(clean.size - begin)).astype(np.float32)
    before, after = scores(clean), scores(np.clip(spoiled, -1, 1))
    change = max(abs(a - b) for a, b in zip(before, after))
    print(f"{seconds} s, noise in the last {seconds - start:.1f} s: the scores change by {change:.2f}")
    as_described &= (change == 0) == unheard
if not as_described:
    sys.exit("changed: the end of a recording counts")
PYTHON
