#!/usr/bin/env bash
# An AIFF file of 8 bits that soundfile writes with an odd number of frames is read with one frame more.
#
# One would guess: a file of plain PCM has as many frames as were written to it.
# What happens: a chunk of AIFF has an even number of bytes, so libsndfile appends one. It then counts that byte as
# sound, in the chunk's size and in the header's number of frames. The file itself thus claims 3002 frames. The same
# holds for u-law and A-law, and for one channel only. The extra sample of u-law is a click of almost full scale.
# As a WAV file the same sound keeps its 3001 frames.
#
# Versions: soundfile 0.14.0 (libsndfile 1.2.2 in its wheel), numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   sound.aiff PCM_S8: written 3000, read 3000, header says 3000, the last two are [0.5 0.5]
#   sound.aiff PCM_S8: written 3001, read 3002, header says 3002, the last two are [0.5 0. ]
#   sound.aiff ULAW: written 3001, read 3002, header says 3002, the last two are [ 0.51159668 -0.98034668]
#   sound.aiff PCM_16: written 3001, read 3001, header says 3001, the last two are [0.5 0.5]
#   sound.wav PCM_U8: written 3001, read 3001, the last two are [0.5 0.5]
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

CASES = [
    ("sound.aiff", "PCM_S8", 3000, 3000),
    ("sound.aiff", "PCM_S8", 3001, 3002),
    ("sound.aiff", "ULAW", 3001, 3002),
    ("sound.aiff", "PCM_16", 3001, 3001),
    ("sound.wav", "PCM_U8", 3001, 3001),
]
as_described = True
for name, subtype, frames, expected in CASES:
    sf.write(name, np.full(frames, 0.5), 16000, subtype=subtype)
    read = sf.read(name)[0]
    claimed = ""
    if name.endswith(".aiff"):
        header = Path(name).read_bytes()
        start = header.index(b"COMM") + 10  # after the chunk's name, its size and the number of channels
        claimed = f", header says {int.from_bytes(header[start : start + 4], 'big')}"
    print(f"{name} {subtype}: written {frames}, read {len(read)}{claimed}, the last two are {read[-2:]}")
    as_described &= len(read) == expected
if not as_described:
    sys.exit("changed: the numbers of frames differ from those described")
PYTHON
