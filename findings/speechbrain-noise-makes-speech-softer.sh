#!/usr/bin/env bash
# speechbrain: AddNoise makes the speech softer, by 6 dB at an SNR of 0 dB. Padding raises the SNR of short clips.
#
# One would guess: the noisy side is the clean one plus noise. Clean and noisy make a pair for training.
# What happens: the noise is added to the speech times 1 - 1 / (1 + 10^(SNR / 20)): 0.36 at -5 dB, 0.50 at 0 dB, 0.76
# at 10 dB. So the right answer of a denoiser is softer than the clean side by a gain that changes with each example. A
# loss that counts the level teaches it to amplify, more for worse SNRs. With the built-in white noise and lengths
# below 1, the noise is measured over the padding too, but divided by the short length. A clip of which half is padding
# gets 3 dB more than asked for, one of which 7/8 is padding gets 9 dB more.
#
# Versions: speechbrain 1.1.2, torch 2.14.1, torchaudio 2.11.1, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   SNR wanted -5 dB, got -5.0 dB: the speech is multiplied by 0.36
#   SNR wanted 0 dB, got 0.0 dB: the speech is multiplied by 0.50
#   SNR wanted 10 dB, got 10.0 dB: the speech is multiplied by 0.76
#   speech in 1/2 of the row, SNR wanted 0 dB, got 3.0 dB
#   speech in 1/8 of the row, SNR wanted 0 dB, got 8.9 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q speechbrain==1.1.2 torch==2.14.1 torchaudio==2.11.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import math
import sys

import numpy as np
import torch
from speechbrain.augment.time_domain import AddNoise


def voice(rate: int = 16000) -> np.ndarray:
    """Four seconds of a made voice: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * rate) / rate
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / rate
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def split(clean: torch.Tensor, mixed: torch.Tensor) -> tuple[float, float]:
    """The factor by which the speech is in the mixture, and the SNR in dB."""
    factor = (clean @ mixed / (clean @ clean)).item()
    return factor, 20 * math.log10(((factor * clean).norm() / (mixed - factor * clean).norm()).item())


torch.manual_seed(0)
clean = torch.from_numpy(voice())
as_described = True
for wanted in (-5, 0, 10):
    factor, snr = split(clean, AddNoise(snr_low=wanted, snr_high=wanted)(clean[None], torch.ones(1))[0])
    expected = 1 - 1 / (1 + 10 ** (wanted / 20))
    print(f"SNR wanted {wanted} dB, got {snr:.1f} dB: the speech is multiplied by {factor:.2f}")
    as_described &= abs(factor - expected) < 0.02 and abs(snr - wanted) < 0.2
for part in (2, 8):
    length = clean.numel() // part
    padded = torch.stack([clean, torch.cat([clean[:length], torch.zeros(clean.numel() - length)])])
    mixed = AddNoise(snr_low=0, snr_high=0)(padded, torch.tensor([1, 1 / part]))
    snr = split(clean[:length], mixed[1, :length])[1]
    print(f"speech in 1/{part} of the row, SNR wanted 0 dB, got {snr:.1f} dB")
    as_described &= abs(snr - 10 * math.log10(part)) < 0.5
if not as_described:
    sys.exit("changed: the speech keeps its level, or padding does not change the SNR")
PYTHON
