#!/usr/bin/env bash
# audiomentations: Mp3Compression makes a sound 0.45 dB softer, at any bit rate. libsndfile's MP3 keeps the level.
#
# One would guess: compression changes the waveform a little, and an augmentation that keeps the delay keeps the level.
# What happens: the sound comes back multiplied by 0.95, by the default backend fast-mp3-augment. The factor is that of
# LAME's default input scale. It does not depend on the bit rate or on the level, so nothing would have clipped.
# If the noisy side of a pair for speech enhancement is augmented so, the clean side is 0.45 dB too loud for it. A network
# then learns to amplify, and an SNR or a distance of spectra against the original cannot get better than 26 dB.
# Divide the sound by 0.95 afterwards, or choose a measure that is free of scale.
#
# Versions: audiomentations 0.43.1, fast-mp3-augment 0.2.0, soundfile 0.14.0, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   Mp3Compression, 64 kbit/s: factor 0.950, SNR 25.6 dB, after division by it 36 dB
#   Mp3Compression, 128 kbit/s: factor 0.950, SNR 25.6 dB, after division by it 36 dB
#   Mp3Compression, 128 kbit/s, 20 dB softer: factor 0.950, SNR 25.6 dB, after division by it 36 dB
#   soundfile's MP3: factor 1.001
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q audiomentations==0.43.1 fast-mp3-augment==0.2.0 soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import soundfile
from audiomentations import Mp3Compression


def voice() -> np.ndarray:
    """Four seconds of a made voice at 16 kHz: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * 16000) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / 16000
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def snr_db(clean: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(np.sum(clean**2) / np.sum((other - clean) ** 2))


def factor_of(clean: np.ndarray, other: np.ndarray) -> float:
    return float(clean @ other / (clean @ clean))


clean = voice()
as_described = True
for rate, sound, note in ((64, clean, ""), (128, clean, ""), (128, 0.1 * clean, ", 20 dB softer")):
    coded = Mp3Compression(min_bitrate=rate, max_bitrate=rate, p=1.0)(sound, sample_rate=16000)
    factor = factor_of(sound, coded)
    plain, mended = snr_db(sound, coded), snr_db(sound, coded / factor)
    print(
        f"Mp3Compression, {rate} kbit/s{note}: factor {factor:.3f}, SNR {plain:.1f} dB, "
        f"after division by it {mended:.0f} dB"
    )
    as_described &= abs(factor - 0.95) < 0.003 and plain < 26.5 and mended > 35
soundfile.write("voice.mp3", clean, 16000)
factor = factor_of(clean, soundfile.read("voice.mp3", dtype="float32")[0])
print(f"soundfile's MP3: factor {factor:.3f}")
if not as_described or abs(factor - 1) > 0.003:
    sys.exit("changed: Mp3Compression keeps the level, or soundfile's MP3 does not")
PYTHON
