#!/usr/bin/env bash
# libsndfile: loud noise is damaged in ALAC of 20 and 24 bits with two channels, and of 32 bits.
#
# One would guess: a lossless codec gives back what was written, as ALAC of 16 bits does.
# What happens: samples are wrong by up to full scale, with no error. Tones and soft noise are right. ALAC stores a
# block as it is where coding would not make it smaller, and such a block is damaged. Noise with a standard deviation of
# 0.3 of full scale is enough. PCM in the same container is right.
#
# Versions: soundfile 0.14.0 (libsndfile 1.2.2), numpy 2.4.6. Date: 2026-12-01.
# Output seen (share of a second's samples that are wrong by more than 0.001; noise in one and in two channels, a tone):
#   PCM_24: 0 % 0 % 0 %
#   ALAC_16: 0 % 0 % 0 %
#   ALAC_20: 0 % 100 % 0 %
#   ALAC_24: 0 % 100 % 0 %
#   ALAC_32: 100 % 50 % 0 %
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import soundfile

assert (soundfile.__version__, soundfile.__libsndfile_version__) == ("0.14.0", "1.2.2")
noise = np.clip(np.random.default_rng(0).normal(0, 0.3, (16000, 2)), -1, 1)
tone = np.tile(0.9 * np.sin(2 * np.pi * 440 / 16000 * np.arange(16000))[:, None], 2)


def wrong(sound, subtype):
    """Per cent of the samples that are not what was written."""
    soundfile.write("sound.caf", sound, 16000, subtype=subtype)
    found, _ = soundfile.read("sound.caf", always_2d=True)
    return 100 * np.mean(np.abs(found - sound) > 0.001)


seen = {
    subtype: [wrong(sound, subtype) for sound in (noise[:, :1], noise, tone)]
    for subtype in ("PCM_24", "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32")
}
for subtype, shares in seen.items():
    print(f"{subtype}:", *(f"{share:.0f} %" for share in shares))
damaged = {subtype: [share > 10 for share in shares] for subtype, shares in seen.items()}
right = [False, False, False]
expected = {"PCM_24": right, "ALAC_16": right, "ALAC_20": [False, True, False], "ALAC_24": [False, True, False],
            "ALAC_32": [True, True, False]}  # fmt: skip
if damaged != expected or max(max(seen["PCM_24"]), max(seen["ALAC_16"])) > 0:
    sys.exit("the behavior has changed")
PYTHON
