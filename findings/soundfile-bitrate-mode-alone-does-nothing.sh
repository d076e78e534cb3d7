#!/usr/bin/env bash
# soundfile ignores bitrate_mode unless compression_level is given too.
#
# One would guess: sf.write(..., bitrate_mode="CONSTANT") writes an MP3 file of constant bit rate. The two arguments are
# described apart from each other, and both are optional.
# What happens: without compression_level the mode is stored, shown by the file object, and never passed to libsndfile.
# All three modes give the same bytes, of variable bit rate. With a compression level the mode holds.
#
# Versions: soundfile 0.14.0 (libsndfile 1.2.2 in its wheel), numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   level None: CONSTANT -> Xing (variable), AVERAGE -> Xing (variable), VARIABLE -> Xing (variable), 1 different file
#   level None: the file objects name CONSTANT, AVERAGE, VARIABLE
#   level 0.5: CONSTANT -> Info (constant), AVERAGE -> Xing (variable), VARIABLE -> Xing (variable), 3 different files
#   level 0.5: the file objects name CONSTANT, AVERAGE, VARIABLE
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import io
import sys

import numpy as np
import soundfile as sf

RATE = 16000
MODES = ("CONSTANT", "AVERAGE", "VARIABLE")
sound = 0.1 * np.random.default_rng(0).standard_normal(RATE)


def written(mode: str, level: float | None) -> tuple[bytes, str]:
    """Give the file's bytes and the mode that the file object names."""
    content = io.BytesIO()
    with sf.SoundFile(
        content, "w", RATE, 1, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode=mode, compression_level=level
    ) as file:
        file.write(sound)
        named = file.bitrate_mode
    return content.getvalue(), named


seen = {}
for level in (None, 0.5):
    files = {mode: written(mode, level) for mode in MODES}
    kinds = [("Info (constant)" if b"Info" in files[mode][0][:100] else "Xing (variable)") for mode in MODES]
    different = len({content for content, _ in files.values()})
    shown = ", ".join(f"{mode} -> {kind}" for mode, kind in zip(MODES, kinds))
    print(f"level {level}: {shown}, {different} different file{'s' * (different > 1)}")
    named = [files[mode][1] for mode in MODES]
    print(f"level {level}: the file objects name {', '.join(named)}")
    seen[level] = kinds[0][:4], different, named
if seen != {None: ("Xing", 1, list(MODES)), 0.5: ("Info", 3, list(MODES))}:
    sys.exit("changed: the mode alone has an effect, or with a level it has another")
PYTHON
