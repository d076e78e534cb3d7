#!/usr/bin/env bash
# A sound of 48 kHz that goes through Opus comes back some samples late or early, as the bit rate decides.
#
# One would guess: Opus states its delay in the file's header (the pre-skip), and the decoder removes it. So the decoded
# sound has the place of the original, at every bit rate; 48 kHz is the rate that Opus itself works at.
# What happens: at compression level 0.5 this holds. At level 0.9, a lower bit rate, the sound is 2.25 samples early. At
# level 1.0, the lowest bit rate, it is more than 3 samples late. At 16 kHz the shift is at most a quarter of a sample.
# Measures that compare samples, as SI-SNR, take the shift for distortion.
#
# Versions: soundfile 0.14.0 (libsndfile 1.2.2 in its wheel), numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   48000 Hz, level 0.5 (137 kbit/s): written 96000, read 96000, late by 0.0
#   48000 Hz, level 0.9 (35 kbit/s): written 96000, read 96000, late by -2.25
#   48000 Hz, level 1.0 (9 kbit/s): written 96000, read 96000, late by 3.25
#   16000 Hz, level 0.5 (137 kbit/s): written 32000, read 32000, late by 0.0
#   16000 Hz, level 0.9 (33 kbit/s): written 32000, read 32000, late by 0.0
#   16000 Hz, level 1.0 (9 kbit/s): written 32000, read 32000, late by -0.25
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

SECONDS, FINE = 2, 8  # the shift is measured in eighths of a sample
EXPECTED = {(48000, 0.5): 0, (48000, 0.9): -2.25, (48000, 1.0): 3.25, (16000, 0.5): 0, (16000, 0.9): 0, (16000, 1.0): 0}


def noise_below_3_khz(rate: int) -> np.ndarray:
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(SECONDS * rate) / 10)
    spectrum[: 100 * SECONDS] = spectrum[3000 * SECONDS :] = 0
    return np.fft.irfft(spectrum)


def shift(sound: np.ndarray, read: np.ndarray) -> float:
    """Give by how many samples the read sound is late, from the peak of the interpolated correlation."""
    size = len(sound) + len(read)
    product = np.fft.rfft(read, size) * np.fft.rfft(sound, size).conj()
    place = int(np.argmax(np.fft.irfft(product, FINE * size)))
    return (place if place < FINE * size // 2 else place - FINE * size) / FINE


as_described = True
for (rate, level), expected in EXPECTED.items():
    sound = noise_below_3_khz(rate)
    sf.write("sound.opus", sound, rate, format="OGG", subtype="OPUS", compression_level=level)
    read = sf.read("sound.opus")[0]
    kilobits = Path("sound.opus").stat().st_size * 8 / SECONDS / 1000
    late = shift(sound, read)
    print(f"{rate} Hz, level {level} ({kilobits:.0f} kbit/s): written {len(sound)}, read {len(read)}, late by {late}")
    as_described &= len(read) == len(sound) and abs(late - expected) <= 0.5
if not as_described:
    sys.exit("changed: the shifts or the lengths differ from those described")
PYTHON
