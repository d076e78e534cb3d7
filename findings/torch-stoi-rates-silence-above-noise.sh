#!/usr/bin/env bash
# torch-stoi, a STOI that can be differentiated, rates silence better than noise; pystoi rates it 0.
#
# One would guess: NegSTOILoss is the negative of pystoi's STOI, so silence is the worst that a network can put out.
# What happens: for a noisy estimate and for noise alone the two agree to 0.01. For a silent estimate torch-stoi gives
# 0.46 where pystoi gives 0.00. Noise alone gets 0.25 from both. The gradient at silence is exactly 0. So a network that
# is trained by this loss gains by closing its mask, and then stays there.
# With extended=True both packages rate silence 0.
#
# Versions: torch-stoi 0.2.3, pystoi 0.4.1, torch 2.14.1, torchaudio 2.11.1, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   noisy estimate: pystoi 0.91, torch-stoi 0.91; extended: 0.65, 0.64
#   noise alone: pystoi 0.25, torch-stoi 0.25; extended: 0.02, 0.01
#   silence: pystoi 0.00, torch-stoi 0.46; extended: 0.00, -0.00
#   largest gradient at silence: 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch-stoi==0.2.3 pystoi==0.4.1 torch==2.14.1 torchaudio==2.11.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import torch
from pystoi import stoi
from torch_stoi import NegSTOILoss


def voice() -> np.ndarray:
    """Four seconds of a made voice at 16 kHz: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * 16000) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / 16000
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def both(estimate: np.ndarray, extended: bool) -> tuple[float, float]:
    tensors = (torch.from_numpy(each)[None] for each in (estimate, clean))
    mine = -NegSTOILoss(sample_rate=16000, extended=extended)(*tensors)
    return stoi(clean, estimate, 16000, extended=extended), mine.item()


clean = voice()
random = np.random.default_rng(1)
noise = 0.01 * random.standard_normal(clean.size).astype(np.float32)
estimates = {"noisy estimate": clean + noise, "noise alone": noise, "silence": np.zeros_like(clean)}
scores = {}
for name, estimate in estimates.items():
    plain, extended = both(estimate, False), both(estimate, True)
    scores[name] = plain
    print(f"{name}: pystoi {plain[0]:.2f}, torch-stoi {plain[1]:.2f}; extended: {extended[0]:.2f}, {extended[1]:.2f}")
leaf = torch.zeros(1, clean.size, requires_grad=True)
NegSTOILoss(sample_rate=16000)(leaf, torch.from_numpy(clean)[None]).sum().backward()
gradient = leaf.grad.abs().max().item()
print(f"largest gradient at silence: {gradient}")
agree = all(abs(a - b) < 0.01 for name, (a, b) in scores.items() if name != "silence")
exact, differentiable = scores["silence"]
if not (agree and exact < 0.01 and differentiable > scores["noise alone"][1] + 0.1 and gradient == 0):
    sys.exit("changed: torch-stoi rates silence as pystoi does")
PYTHON
