#!/usr/bin/env bash
# DeepFilterNet's libdf: synthesis() destroys the spectrum that it is given, and erb_norm() the features.
#
# One would guess: a function that returns a new array leaves its arguments as they are.
# What happens: DF.synthesis(spectrum) returns the sound, and its inverse transforms work in the spectrum's memory. The
# spectrum holds other numbers afterwards, about 30 dB louder ones. So whoever listens to a spectrum before filtering
# it, or makes the sound twice, gets loud noise the second time. erb_norm(features, alpha) writes its result into the
# features as well, so the next call with them gives something else. analysis, erb and unit_norm change nothing.
# There is no exception and no warning. The type stub, which is the documentation, says nothing of it.
# Give synthesis and erb_norm a copy.
#
# Versions: deepfilterlib 0.5.6 (its newest wheels are for Python 3.11), numpy 2.4.6. Date: 2026-12-01.
# Output seen (1 s of noise at 48 kHz, in the transform and the bands of DeepFilterNet 3):
#   first synthesis, against the sound 480 samples earlier: error -100 dB or less
#   the spectrum afterwards: other numbers, +33 dB
#   second synthesis, against the first: error +30 dB
#   synthesis of a copy, against the first: error -100 dB or less
#   erb_norm: largest change of its argument 78.5, largest difference of two calls 1.7
#   unit_norm: largest change of its argument 0.0, largest difference of two calls 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q deepfilterlib==0.5.6 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import libdf
import numpy as np

RATE = 48000
sound = (0.1 * np.random.default_rng(0).standard_normal((1, RATE))).astype(np.float32)
state = libdf.DF(sr=RATE, fft_size=960, hop_size=480, nb_bands=32, min_nb_erb_freqs=2)


def louder(first, second):
    """How much louder the first is than the second."""
    ratio = np.mean(np.abs(first) ** 2) / np.mean(np.abs(second) ** 2)
    return f"{10 * np.log10(ratio):+.0f} dB" if ratio > 1e-10 else "-100 dB or less"


spectrum = state.analysis(sound)
original = spectrum.copy()
first = state.synthesis(spectrum)
error = first[0, 480:] - sound[0, :-480]
print(f"first synthesis, against the sound 480 samples earlier: error {louder(error, sound)}")
changed = "other numbers" if np.any(spectrum != original) else "the same numbers"
print(f"the spectrum afterwards: {changed}, {louder(spectrum, original)}")
second, copied = state.synthesis(spectrum), state.synthesis(original.copy())
print(f"second synthesis, against the first: error {louder(second - first, first)}")
print(f"synthesis of a copy, against the first: error {louder(copied - first, first)}")
as_described = np.max(np.abs(error)) < 1e-5 and np.array_equal(copied, first)
as_described &= np.any(spectrum != original) and np.mean((second - first) ** 2) > 10 * np.mean(first**2)

kept = libdf.erb(original, state.erb_widths())
for name, function, given in (
    ("erb_norm", lambda features: libdf.erb_norm(features, 0.99), kept.copy()),
    ("unit_norm", lambda bins: libdf.unit_norm(bins, 0.99), original[..., :96].copy()),
):
    before = given.copy()
    once = function(given)
    twice = function(given)
    print(f"{name}: largest change of its argument {np.max(np.abs(given - before)):.1f}, ", end="")
    print(f"largest difference of two calls {np.max(np.abs(twice - once)):.1f}")
    as_described &= bool(np.any(given != before)) == bool(np.any(twice != once)) == (name == "erb_norm")
if not as_described:
    sys.exit("changed: the functions leave their arguments as they are")
PYTHON
