#!/usr/bin/env bash
# pyroomacoustics' one-shot denoisers return the signal half a window late, and just as long.
#
# One would guess: a function that takes a whole signal and returns one of the same length keeps every sample in its
# place. Nothing in the documentation of the functions says otherwise.
# What happens: apply_spectral_sub and apply_iterative_wiener work frame by frame inside, and return what a stream would:
# half a window late, without the last half window. A metric that compares samples then says that all speech is gone:
# SI-SNR is below -40 dB, although moving the signal by half a window shows that nothing is wrong with it.
#
# Versions: pyroomacoustics 0.10.1, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   noisy: SI-SNR 7.9 dB
#   apply_spectral_sub: 48000 of 48000 samples, 256 late: SI-SNR -45.1 dB, moved by half a window 8.4 dB
#   apply_iterative_wiener: 48000 of 48000 samples, 256 late: SI-SNR -47.2 dB, moved by half a window 8.0 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyroomacoustics==0.10.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
from pyroomacoustics.denoise import apply_iterative_wiener, apply_spectral_sub

RATE, WINDOW = 16000, 512


def si_snr(estimate, target):
    estimate, target = estimate - estimate.mean(), target - target.mean()
    part = np.dot(estimate, target) / np.dot(target, target) * target
    return 10 * np.log10(np.sum(part**2) / np.sum((estimate - part) ** 2))


def lateness(output, signal):
    size = 2 * len(signal)
    correlation = np.fft.irfft(np.fft.rfft(output, size) * np.conj(np.fft.rfft(signal, size)), size)
    return int(np.argmax(correlation[:2000]))


random, time_s = np.random.default_rng(0), np.arange(3 * RATE) / RATE
bursts = 0.1 * random.standard_normal(len(time_s)) * (np.sin(4 * np.pi * time_s) > 0)
clean = np.convolve(bursts, np.ones(8) / 8, "same")
noisy = clean + 0.01 * random.standard_normal(len(clean))
print(f"noisy: SI-SNR {si_snr(noisy, clean):.1f} dB")
as_described = True
for denoise, options in (
    (apply_spectral_sub, {"nfft": WINDOW, "db_reduc": 10, "lookback": 12, "beta": 3, "alpha": 1.2}),
    (apply_iterative_wiener, {"frame_len": WINDOW, "lpc_order": 20, "iterations": 2, "alpha": 0.8, "thresh": 0.01}),
):
    output = denoise(noisy.copy(), **options)
    late = lateness(output, noisy)
    as_it_is, moved = si_snr(output, clean), si_snr(output[WINDOW // 2 :], clean[: -WINDOW // 2])
    print(
        f"{denoise.__name__}: {len(output)} of {len(noisy)} samples, {late} late: SI-SNR {as_it_is:.1f} dB,"
        f" moved by half a window {moved:.1f} dB"
    )
    as_described &= len(output) == len(noisy) and late == WINDOW // 2 and as_it_is < -30 and moved > 6
if not as_described:
    sys.exit("changed: the signal is in time")
PYTHON
