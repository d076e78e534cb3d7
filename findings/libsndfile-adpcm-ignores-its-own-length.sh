#!/usr/bin/env bash
# A WAV file of Microsoft ADPCM is read longer than it was written, though its true length stands in it.
#
# One would guess: soundfile reads as many samples as it wrote. ADPCM comes in whole blocks, and just for that a WAV
# file has a chunk, "fact", with the number of samples.
# What happens: libsndfile writes the right number into "fact" and does not use it when it reads. The padding of the
# last block is read as sound: 192 samples here, up to 1011 at this rate. For IMA ADPCM "fact" itself has the padded
# number, so that no reader can know the true one.
#
# Versions: soundfile 0.14.0 (libsndfile 1.2.2 in its wheel), numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   PCM_16: written 16000, fact says None, read 16000
#   MS_ADPCM: written 16000, fact says 16000, read 16192
#   IMA_ADPCM: written 16000, fact says 16272, read 16272
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

FRAMES = 16000
sound = 0.5 * np.sin(np.arange(FRAMES) / 20)
seen = {}
for subtype in ("PCM_16", "MS_ADPCM", "IMA_ADPCM"):
    sf.write("sound.wav", sound, 16000, subtype=subtype)
    content = Path("sound.wav").read_bytes()
    place = content.find(b"fact") + 8  # after the chunk's name and its size
    fact = int.from_bytes(content[place : place + 4], "little") if place >= 8 else None
    seen[subtype] = fact, len(sf.read("sound.wav")[0])
    print(f"{subtype}: written {FRAMES}, fact says {fact}, read {seen[subtype][1]}")
expected = {"PCM_16": (None, 16000), "MS_ADPCM": (16000, 16192), "IMA_ADPCM": (16272, 16272)}
if seen != expected:
    sys.exit("changed: the numbers of samples differ from those described")
PYTHON
