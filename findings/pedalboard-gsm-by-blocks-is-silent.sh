#!/usr/bin/env bash
# pedalboard: GSMFullRateCompressor used block by block gives silence for blocks of 10 and 20 ms.
#
# One would guess: process(block, rate, reset=False), which is for streams, gives what one call on the whole sound gives.
# MP3Compressor of the same package does: its blocks are equal to the whole, to the bit.
# What happens: at 16 kHz with blocks of 160 or 320 samples nearly nothing comes out, 56 dB below the sound. With longer
# blocks pieces are missing: the correlation with the sound is 0.35 for 480 samples and 0.94 for 4096, where the whole
# sound gives 0.99. No error is raised. So a simulated telephone in a live chain, or in an augmentation that works by
# blocks, gives silence. Call it once on the whole sound.
#
# Versions: pedalboard 0.9.26, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   whole sound: correlation 0.99, level -0.1 dB
#   blocks of 160: correlation 0.00, level -56.0 dB
#   blocks of 320: correlation 0.00, level -56.0 dB
#   blocks of 480: correlation 0.35, level -1.4 dB
#   blocks of 4096: correlation 0.94, level -0.2 dB
#   MP3Compressor at 48 kHz, blocks of 480: largest difference to the whole 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pedalboard==0.9.26 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
from pedalboard import GSMFullRateCompressor, MP3Compressor


def voice() -> np.ndarray:
    """Four seconds of a made voice at 16 kHz: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * 16000) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / 16000
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def by_blocks(effect: object, sound: np.ndarray, rate: int, block: int) -> np.ndarray:
    blocks = [effect.process(sound[i : i + block], rate, reset=False) for i in range(0, sound.size, block)]
    return np.concatenate([each.reshape(-1) for each in blocks])


def compare(sound: np.ndarray, coded: np.ndarray) -> tuple[float, float]:
    """Correlation, and level in dB."""
    norms = np.linalg.norm(sound) * np.linalg.norm(coded)
    return float(sound[: coded.size] @ coded / norms), float(20 * np.log10(np.std(coded) / np.std(sound)))


sound = voice()
whole = compare(sound, GSMFullRateCompressor().process(sound, 16000))
print(f"whole sound: correlation {whole[0]:.2f}, level {whole[1]:.1f} dB")
as_described = whole[0] > 0.95
for block in (160, 320, 480, 4096):
    correlation, level = compare(sound, by_blocks(GSMFullRateCompressor(), sound, 16000, block))
    print(f"blocks of {block}: correlation {correlation:.2f}, level {level:.1f} dB")
    as_described &= level < -40 if block <= 320 else correlation < whole[0] - 0.02
fast = np.interp(np.arange(3 * sound.size) / 3, np.arange(sound.size), sound).astype(np.float32)
blocks = by_blocks(MP3Compressor(2.0), fast, 48000, 480)
difference = float(np.abs(blocks - MP3Compressor(2.0).process(fast, 48000)[: blocks.size]).max())
print(f"MP3Compressor at 48 kHz, blocks of 480: largest difference to the whole {difference}")
if not as_described or difference > 1e-6:
    sys.exit("changed: blocks give what the whole sound gives, or MP3Compressor differs too")
PYTHON
