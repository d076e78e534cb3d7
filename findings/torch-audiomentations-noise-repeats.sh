#!/usr/bin/env bash
# torch-audiomentations: the noise of AddColoredNoise repeats every second.
#
# One would guess: random noise for four seconds is random for four seconds.
# What happens: one second of noise is made and put end to end. In a longer example the second 2 of the noise is the
# second 1, apart from the rounding of the sum with the speech. So a network with a memory of more than a second can
# learn to know the noise from its repetition, which noise outside does not have.
# Such noise is a sum of tones at the whole numbers of Hz. Of four bins of a spectrum over 4 s, three are empty.
# AddGaussianNoise of audiomentations does not repeat. An example of at most a second has no repetition.
#
# Versions: torch-audiomentations 0.12.0, torch 2.14.1, torchaudio 2.11.1, audiomentations 0.43.1, numpy 2.4.6.
# Date: 2026-11-30.
# Output seen:
#   AddColoredNoise, decay 0, at 16000 Hz: correlation after 1 s 1.00, power between whole Hz 0.00
#   AddColoredNoise, decay 1, at 16000 Hz: correlation after 1 s 1.00, power between whole Hz 0.00
#   AddGaussianNoise at 16000 Hz: correlation after 1 s 0.00, power between whole Hz 0.75
#   AddColoredNoise, decay 0, at 48000 Hz: correlation after 1 s 1.00, power between whole Hz 0.00
#   AddColoredNoise, decay 1, at 48000 Hz: correlation after 1 s 1.00, power between whole Hz 0.00
#   AddGaussianNoise at 48000 Hz: correlation after 1 s 0.00, power between whole Hz 0.75
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch-audiomentations==0.12.0 torch==2.14.1 torchaudio==2.11.1 \
  audiomentations==0.43.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import torch
from audiomentations import AddGaussianNoise
from torch_audiomentations import AddColoredNoise

SECONDS = 4


def clean(rate: int) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * 200 * np.arange(SECONDS * rate) / rate)).astype(np.float32)


def colored(rate: int, decay: float) -> np.ndarray:
    torch.manual_seed(0)
    sound = torch.from_numpy(clean(rate))[None, None]
    level = {"min_snr_in_db": 0.0, "max_snr_in_db": 0.0, "min_f_decay": decay, "max_f_decay": decay}
    add = AddColoredNoise(**level, p=1.0, sample_rate=rate, output_type="dict")
    return (add(sound).samples - sound)[0, 0].numpy()


def gaussian(rate: int) -> np.ndarray:
    # The seeds of Python's and numpy's random numbers are not set: the bounds below hold for any noise.
    add = AddGaussianNoise(min_amplitude=0.1, max_amplitude=0.1, p=1.0)
    return add(clean(rate), sample_rate=rate) - clean(rate)


def seen(name: str, rate: int, noise: np.ndarray) -> tuple[float, float]:
    """How far each second correlates with the one before, and the part of the power between whole Hz."""
    alike = abs(np.corrcoef(noise[rate:], noise[:-rate])[0, 1])
    power = np.abs(np.fft.rfft(noise.astype(float))) ** 2
    between = 1 - power[::SECONDS].sum() / power.sum()
    print(f"{name} at {rate} Hz: correlation after 1 s {alike:.2f}, power between whole Hz {between:.2f}")
    return alike, between


as_described = True
for rate in (16000, 48000):
    for decay in (0.0, 1.0):
        alike, between = seen(f"AddColoredNoise, decay {decay:g},", rate, colored(rate, decay))
        as_described &= alike > 0.999 and between < 1e-6
    alike, between = seen("AddGaussianNoise", rate, gaussian(rate))
    as_described &= alike < 0.05 and abs(between - 0.75) < 0.05
if not as_described:
    sys.exit("changed: the noise does not repeat")
PYTHON
