#!/usr/bin/env bash
# torch-pesq, a PESQ that can be differentiated, gives NaN for a silent estimate, and so is its gradient.
#
# One would guess: a silent estimate gets the worst score, and a loss stays finite. Networks put out silence for
# examples without speech, at the start of a training, and where a mask closes.
# What happens: the level is set by a division by the signal's power, and silence has none. One silent estimate makes the
# mean loss of its batch NaN, and one step of the optimizer makes the weights NaN. No warning is given. The package pesq
# raises an error for a silent estimate. A mask on the losses does not help, because 0 times the gradient NaN is NaN:
# silent examples must be left out before the call.
#
# Versions: torch-pesq 0.1.2, pesq 0.0.4, torch 2.14.1, torchaudio 2.11.1, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   noisy estimate: loss is finite, 0% of the gradient is NaN
#   silent estimate: loss is NaN, 100% of the gradient is NaN
#   mean loss of both: NaN
#   loss of the silent one multiplied by 0: 100% of its gradient is NaN
#   pesq, noisy estimate: a score
#   pesq, silent estimate: ValueError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch-pesq==0.1.2 pesq==0.0.4 torch==2.14.1 torchaudio==2.11.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import torch
from pesq import pesq
from torch_pesq import PesqLoss


def voice() -> np.ndarray:
    """Four seconds of a made voice at 16 kHz: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * 16000) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / 16000
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def score(clean: np.ndarray, estimate: np.ndarray) -> str:
    try:
        pesq(16000, clean, estimate, "wb")
    except ValueError as error:
        return type(error).__name__
    return "a score"


clean = voice()
noisy = clean + 0.01 * np.random.default_rng(1).standard_normal(clean.size).astype(np.float32)
silent = np.zeros_like(clean)
loss = PesqLoss(0.5, sample_rate=16000)
target = torch.from_numpy(clean)[None]
as_described = True
for name, estimate in (("noisy", noisy), ("silent", silent)):
    leaf = torch.from_numpy(estimate)[None].clone().requires_grad_()
    value = loss(target, leaf).sum()
    value.backward()
    share = leaf.grad.isnan().double().mean().item()
    print(f"{name} estimate: loss is {'NaN' if value.isnan() else 'finite'}, {share:.0%} of the gradient is NaN")
    as_described &= (share, bool(value.isnan())) == ((1, True) if name == "silent" else (0, False))
batch = torch.from_numpy(np.stack([noisy, silent])).requires_grad_()
values = loss(target.expand(2, -1), batch)
print("mean loss of both:", "NaN" if values.mean().isnan() else "finite")
(values * torch.tensor([1.0, 0.0])).nansum().backward()
share = batch.grad[1].isnan().double().mean().item()
print(f"loss of the silent one multiplied by 0: {share:.0%} of its gradient is NaN")
as_described &= bool(values.mean().isnan()) and share == 1
scores = score(clean, noisy), score(clean, silent)
print(f"pesq, noisy estimate: {scores[0]}\npesq, silent estimate: {scores[1]}")
if not as_described or scores != ("a score", "ValueError"):
    sys.exit("changed: torch-pesq is finite for silence, or pesq raises no error")
PYTHON
