#!/usr/bin/env bash
# auraloss' multi-resolution STFT loss has no gradient at a silent estimate, and is a thousand times larger for a silent
# target.
#
# One would guess: a network that puts out silence is far from its target, and the loss pulls it away from there. And a
# target without speech, as of an example that is noise alone, weighs about as much as others.
# What happens: the magnitude is clamped from below. For an estimate of zeros the loss is 10, with a gradient of exactly
# zero, so a network whose output has collapsed to silence stays there. For a target of zeros one term divides by the
# norm of the clamped target: 15,000 instead of 10, so one such example decides the step of its whole batch.
# SISDRLoss has no gradient in either case, and the same value of 80 for both.
#
# Versions: auraloss 0.4.0, torch 2.13.0, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   MultiResolutionSTFTLoss, noisy estimate: loss 0.7, gradient 2.8e-01
#   MultiResolutionSTFTLoss, silent estimate: loss 10.3, gradient 0.0e+00
#   MultiResolutionSTFTLoss, silent target: loss 15312.2, gradient 1.2e+03
#   SISDRLoss, noisy estimate: loss -6.0, gradient 1.5e+00
#   SISDRLoss, silent estimate: loss 80.0, gradient 0.0e+00
#   SISDRLoss, silent target: loss 80.0, gradient 0.0e+00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q auraloss==0.4.0 torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import torch
from auraloss.freq import MultiResolutionSTFTLoss
from auraloss.time import SISDRLoss

torch.manual_seed(0)
torch.set_num_threads(1)
sound, silence = 0.1 * torch.randn(1, 1, 16000), torch.zeros(1, 1, 16000)
cases = {
    "noisy estimate": (sound + 0.05 * torch.randn(1, 1, 16000), sound),
    "silent estimate": (silence, sound),
    "silent target": (sound, silence),
}
found = {}
for loss in (MultiResolutionSTFTLoss(), SISDRLoss()):
    for case, (estimate, target) in cases.items():
        estimate = estimate.clone().requires_grad_()
        value = loss(estimate, target)
        value.backward()
        name = type(loss).__name__
        found[name, case] = value.item(), estimate.grad.norm().item()
        print(f"{name}, {case}: loss {value.item():.1f}, gradient {estimate.grad.norm().item():.1e}")
stft = {case: found["MultiResolutionSTFTLoss", case] for case in cases}
sdr = {case: found["SISDRLoss", case] for case in cases}
as_described = stft["silent estimate"][1] == 0 and 5 < stft["silent estimate"][0] < 20
as_described &= stft["silent target"][0] > 1000 and stft["noisy estimate"][1] > 0.1
as_described &= sdr["silent estimate"] == sdr["silent target"] and sdr["silent estimate"][1] == 0
if not as_described:
    sys.exit("changed: silence has a gradient, or a silent target weighs as much as others")
PYTHON
