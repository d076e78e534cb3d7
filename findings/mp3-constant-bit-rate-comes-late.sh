#!/usr/bin/env bash
# soundfile writes an MP3 file of a low constant bit rate, and reads it back late and too long.
#
# One would guess: soundfile gives back an MP3 file at the place and with the length that it was written with. It does
# so for nearly all files, as the encoder states its delay and its padding in the file's first frame.
# What happens: if the bit rate is constant and low, the first frame is too small for that statement, the tag "Info".
# The encoder then leaves it out, with no error. The sound comes 1105 samples late and is longer by that and more.
# At 24 kHz this begins at 40 kbit/s, which is an ordinary rate for speech. Average and variable bit rates keep the tag
# ("Xing") at the same compression level.
#
# Versions: soundfile 0.14.0 (libsndfile 1.2.2 in its wheel), numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   16000 Hz, level 0.8, CONSTANT: 42 kbit/s, tag Info, written 32000, read 32000, late by 0
#   16000 Hz, level 0.99, CONSTANT: 8 kbit/s, tag none, written 32000, read 33408, late by 1105
#   16000 Hz, level 0.99, AVERAGE: 11 kbit/s, tag Xing, written 32000, read 32000, late by 0
#   24000 Hz, level 0.5, CONSTANT: 84 kbit/s, tag Info, written 48000, read 48000, late by 0
#   24000 Hz, level 0.8, CONSTANT: 41 kbit/s, tag none, written 48000, read 49536, late by 1105
#   24000 Hz, level 0.8, AVERAGE: 40 kbit/s, tag Xing, written 48000, read 48000, late by 0
#   24000 Hz, level 0.8, VARIABLE: 20 kbit/s, tag Xing, written 48000, read 48000, late by 0
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

SECONDS = 2
CASES = [
    (16000, 0.8, "CONSTANT", "Info"),
    (16000, 0.99, "CONSTANT", "none"),
    (16000, 0.99, "AVERAGE", "Xing"),
    (24000, 0.5, "CONSTANT", "Info"),
    (24000, 0.8, "CONSTANT", "none"),
    (24000, 0.8, "AVERAGE", "Xing"),
    (24000, 0.8, "VARIABLE", "Xing"),
]


def noise_below_3_khz(rate: int) -> np.ndarray:
    spectrum = np.fft.rfft(0.2 * np.random.default_rng(0).standard_normal(SECONDS * rate))
    spectrum[3000 * SECONDS :] = 0
    return np.fft.irfft(spectrum)


def delay(sound: np.ndarray, read: np.ndarray) -> int:
    """Give the number of samples by which the read sound is late, from the peak of the correlation."""
    size = len(sound) + len(read)
    return int(np.argmax(np.fft.irfft(np.fft.rfft(read, size) * np.fft.rfft(sound, size).conj(), size)))


as_described = True
for rate, level, mode, expected in CASES:
    sound = noise_below_3_khz(rate)
    sf.write("sound.mp3", sound, rate, bitrate_mode=mode, compression_level=level)
    read, content = sf.read("sound.mp3")[0], Path("sound.mp3").read_bytes()
    tag = next((name for name in ("Info", "Xing") if name.encode() in content[:100]), "none")
    late, kilobits = delay(sound, read), len(content) * 8 / SECONDS / 1000
    print(f"{rate} Hz, level {level}, {mode}: {kilobits:.0f} kbit/s, tag {tag}, ", end="")
    print(f"written {len(sound)}, read {len(read)}, late by {late}")
    lost = tag == "none" and len(read) > len(sound) + 1105 and abs(late - 1105) <= 1
    kept = tag != "none" and len(read) == len(sound) and late == 0
    as_described &= tag == expected and (lost if expected == "none" else kept)
if not as_described:
    sys.exit("changed: the tag, the length or the delay differs from what is described")
PYTHON
