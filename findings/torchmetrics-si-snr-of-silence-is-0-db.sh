#!/usr/bin/env bash
# torchmetrics gives silence an SI-SNR of 0 dB: more than it gives speech in noise at -5 dB.
#
# One would guess: an estimate that has nothing of the speech gets minus infinity, NaN or an error. Its SDR does.
# What happens: a small number is added above and below the fraction, so that 0 divided by 0 counts as 1. SNR, SI-SNR and
# SI-SDR of digital silence are 0.0 dB. A mean over a test set then rises wherever a network puts out silence instead of
# noisy speech at a negative SNR: the network that deletes everything gains 5 dB there.
# SI-SNR of an estimate against a silent target is -91 dB, and moves the mean the other way.
#
# Versions: torchmetrics 1.9.0, torch 2.13.0, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   signal_noise_ratio: silence 0.0 dB, speech in noise -4.9 dB
#   scale_invariant_signal_noise_ratio: silence 0.0 dB, speech in noise -5.1 dB
#   scale_invariant_signal_distortion_ratio: silence 0.0 dB, speech in noise -5.1 dB
#   signal_distortion_ratio: silence -inf dB, speech in noise -4.6 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import math
import sys

import torch
from torchmetrics.functional import audio

torch.manual_seed(0)
torch.set_num_threads(1)
speech, noise = (0.1 * torch.randn(16000) for _ in range(2))
noisy, silence = speech + 10 ** (5 / 20) * noise, torch.zeros(16000)
as_described = True
for name in (
    "signal_noise_ratio",
    "scale_invariant_signal_noise_ratio",
    "scale_invariant_signal_distortion_ratio",
    "signal_distortion_ratio",
):
    metric = getattr(audio, name)
    of_silence, of_noisy = (metric(estimate, speech).item() for estimate in (silence, noisy))
    print(f"{name}: silence {of_silence:.1f} dB, speech in noise {of_noisy:.1f} dB")
    wanted = -math.inf if name == "signal_distortion_ratio" else 0
    as_described &= of_silence == wanted and of_noisy < -3
if not as_described:
    sys.exit("changed: silence has another value")
PYTHON
