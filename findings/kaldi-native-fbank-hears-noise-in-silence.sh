#!/usr/bin/env bash
# kaldi-native-fbank: features of the same sound differ from call to call, most of all in silence: dither is on.
#
# One would guess: features for a recognizer are a function of the sound. A recognizer gets the same features for the
# same file, and digital silence gives the floor of the logarithm.
# What happens: FbankOptions adds random numbers of 3e-5 of full scale to the sound by default (frame_opts.dither).
# So the features of silence are those of noise at -90 dBFS. They lie 1 above the floor of -15.9 on average, and differ
# by up to 3 (in natural logarithms) between two calls. Those of noise at -60 dBFS, as it is left behind a suppressor,
# differ by up to 0.5. With frame_opts.dither = 0 two calls agree.
#
# Versions: kaldi-native-fbank 1.23.0, numpy 2.4.6. Date: 2026-11-30.
# Output seen (the random numbers differ in every run):
#   the option dither: 3e-05
#   digital silence: -14.9 on average, the largest difference of two calls 3.12; without dither -15.9, 0.00
#   noise of -60 dBFS: -9.4 on average, the largest difference of two calls 0.48; without dither -9.4, 0.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q kaldi-native-fbank==1.23.0 numpy==2.4.6
"$folder/venv/bin/python" - >"$folder/lines" <<'PYTHON' || { cat "$folder/lines"; exit 1; }
import sys

import kaldi_native_fbank as knf
import numpy as np

RATE = 16000


def features(sound, dither=None):
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.mel_opts.num_bins = 80
    if dither is not None:
        options.frame_opts.dither = dither
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(RATE, sound.tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(frame) for frame in range(bank.num_frames_ready)])


def twice(sound, dither=None):
    first, second = features(sound, dither), features(sound, dither)
    return first.mean(), np.abs(first - second).max()


silence = np.zeros(RATE, np.float32)
soft = (1e-3 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
print(f"seen: the option dither: {knf.FbankOptions().frame_opts.dither:.0e}")
least = {"digital silence": 1.5, "noise of -60 dBFS": 0.1}
as_described = True
for (name, bound), sound in zip(least.items(), (silence, soft), strict=True):
    (mean, difference), (plain, same) = twice(sound), twice(sound, 0.0)
    print(f"seen: {name}: {mean:.1f} on average, the largest difference of two calls {difference:.2f};", end=" ")
    print(f"without dither {plain:.1f}, {same:.2f}")
    as_described &= difference > bound and same == 0
if not as_described:
    sys.exit("changed: features of the same sound agree")
PYTHON
sed -n 's/^seen: //p' "$folder/lines"
