#!/usr/bin/env bash
# torchaudio: every biquad filter and deemphasis clip their result at 1, with no argument against it and no warning.
#
# One would guess: a linear filter is linear. A sound that is twice as large comes out twice as large.
# What happens: the filters call lfilter, whose argument clamp is True by default, and do not pass it on. Their own
# documentation names no limit. A denoised or resampled sound often goes above full scale in float32, and so do samples
# of 16 bits that were converted and not divided. What lies above 1 is cut off. De-emphasis behind a network then clips
# its output, and does not undo preemphasis. The loudness is measured behind two of these filters: a sound of 6 dB above
# full scale is measured 5 dB too soft, and a gain that is set from it is too large.
# lfilter with the filter's coefficients and clamp=False is linear.
#
# Versions: torchaudio 2.11.1, torch 2.14.1, numpy 2.4.6. Date: 2026-11-30.
# Output seen:
#   highpass_biquad at 80 Hz: error 0%, 42%, 100% at peaks of 0.75, 2 and 16384
#   lowpass_biquad at 7 kHz: error 0%, 42%, 100% at peaks of 0.75, 2 and 16384
#   equalizer_biquad, 0 dB: error 0%, 42%, 100% at peaks of 0.75, 2 and 16384
#   deemphasis of preemphasis: error 0%, 42%, 100% at peaks of 0.75, 2 and 16384
#   lfilter, clamp=False: error 0%, 0%, 0% at peaks of 0.75, 2 and 16384
#   loudness at a peak of 0.5: -9.1 LKFS, -9.1 expected
#   loudness at a peak of 2.0: -1.8 LKFS, 2.9 expected
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torchaudio==2.11.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import torch
from torchaudio import functional

RATE = 16000
time = torch.arange(RATE, dtype=torch.float64) / RATE
sound = 0.5 * torch.sin(2 * torch.pi * 997 * time)[None]
filters = {
    "highpass_biquad at 80 Hz": lambda x: functional.highpass_biquad(x, RATE, 80.0),
    "lowpass_biquad at 7 kHz": lambda x: functional.lowpass_biquad(x, RATE, 7000.0),
    "equalizer_biquad, 0 dB": lambda x: functional.equalizer_biquad(x, RATE, 1000.0, 0.0),
    "deemphasis of preemphasis": lambda x: functional.deemphasis(functional.preemphasis(x)),
    "lfilter, clamp=False": lambda x: functional.lfilter(
        x, torch.tensor([1.0, -0.9]).double(), torch.tensor([0.5, 0.0]).double(), clamp=False
    ),
}
as_described = True
for name, apply in filters.items():
    once = apply(sound)
    errors = []
    for factor in (1.5, 4.0, 32768.0):
        errors.append(((apply(factor * sound) - factor * once).norm() / (factor * once).norm()).item())
    as_list = ", ".join(f"{error:.0%}" for error in errors)
    print(f"{name}: error {as_list} at peaks of 0.75, 2 and 16384")
    linear = name == "lfilter, clamp=False"
    as_described &= all(error < 1e-9 for error in errors) if linear else errors[0] < 1e-9 and errors[1] > 0.3
    as_described &= linear or errors[2] > 0.99
for factor in (1, 4):
    found = functional.loudness(factor * sound, RATE).item()
    wanted = functional.loudness(sound, RATE).item() + 20 * torch.log10(torch.tensor(factor)).item()
    print(f"loudness at a peak of {factor / 2}: {found:.1f} LKFS, {wanted:.1f} expected")
    as_described &= abs(found - wanted) < 0.01 if factor == 1 else found < wanted - 3
if not as_described:
    sys.exit("changed: the filters are linear")
PYTHON
