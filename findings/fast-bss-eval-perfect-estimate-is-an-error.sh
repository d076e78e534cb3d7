#!/usr/bin/env bash
# fast_bss_eval: a perfect estimate is an error or 58 to 149 dB, as type and array package decide. Silence is an error.
#
# One would guess: a perfect estimate gets a very high or infinite SDR, and silence a very low one, as mir_eval gives.
# What happens: the values are clamped by thresholds of the type, and the matching of the channels then finds no value.
# For sdr a perfect estimate raises an error on an empty array in NumPy with float64 and in PyTorch; in NumPy with
# float32 it gets a number. A silent estimate raises the same error everywhere. The words name neither cause. So a test
# set with one example without noise, or a network that mutes one example, ends an evaluation.
#
# Versions: fast_bss_eval 0.1.4, torch 2.14.1, numpy 2.4.6, scipy 1.17.1. Date: 2026-11-28.
# Output seen:
#   numpy float64, noisy: sdr 7 dB, si_sdr 7 dB
#   numpy float64, perfect: sdr ValueError, si_sdr 149 dB
#   numpy float64, silent: sdr ValueError, si_sdr ValueError
#   numpy float32, noisy: sdr 7 dB, si_sdr 7 dB
#   numpy float32, perfect: sdr 69 dB, si_sdr 64 dB
#   numpy float32, silent: sdr ValueError, si_sdr ValueError
#   torch float32, noisy: sdr 7 dB, si_sdr 7 dB
#   torch float32, perfect: sdr RuntimeError, si_sdr 58 dB
#   torch float32, silent: sdr RuntimeError, si_sdr RuntimeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q fast-bss-eval==0.1.4 packaging==26.0 torch==2.14.1 numpy==2.4.6 scipy==1.17.1
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys
from collections.abc import Callable

import fast_bss_eval
import numpy as np
import torch


def voice() -> np.ndarray:
    """Four seconds of a made voice at 16 kHz: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * 16000) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / 16000
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def outcome(measure: Callable[..., np.ndarray], clean: np.ndarray, estimate: np.ndarray) -> str:
    try:
        return f"{float(measure(clean, estimate)[0]):.0f} dB"
    except (ValueError, RuntimeError) as error:
        return type(error).__name__


clean = voice()
noisy = clean + 0.01 * np.random.default_rng(1).standard_normal(clean.size).astype(np.float32)
estimates = {"noisy": noisy, "perfect": clean, "silent": np.zeros_like(clean)}
kinds = {
    "numpy float64": lambda array: array[None].astype(np.float64),
    "numpy float32": lambda array: array[None],
    "torch float32": lambda array: torch.from_numpy(array)[None],
}
seen = {}
for kind, convert in kinds.items():
    for name, estimate in estimates.items():
        pair = convert(clean), convert(estimate)
        seen[kind, name] = [outcome(measure, *pair) for measure in (fast_bss_eval.sdr, fast_bss_eval.si_sdr)]
        print(f"{kind}, {name}: sdr {seen[kind, name][0]}, si_sdr {seen[kind, name][1]}")
raising = {key for key, values in seen.items() if values[0].endswith("Error")}
expected = {(kind, "silent") for kind in kinds} | {("numpy float64", "perfect"), ("torch float32", "perfect")}
if raising != expected:
    sys.exit("changed: sdr judges silent or perfect estimates")
PYTHON
