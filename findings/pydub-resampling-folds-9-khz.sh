#!/usr/bin/env bash
# pydub's set_frame_rate has no filter: from 48 to 16 kHz a tone of 9 kHz comes back as 7 kHz, as loud as it was.
#
# One would guess: a resampler takes out what the new rate cannot hold, and leaves the rest as it is, as soxr does.
# What happens: it interpolates linearly between samples. From 48 to 16 kHz that takes every third one, so all that lies
# above 8 kHz is folded into speech at its full level. White noise comes out 5 dB too loud.
# From 16 to 48 kHz a tone of 7 kHz loses 5 dB, and a mirrored tone of 9 kHz is only 4 dB below what is left.
# There is no warning. A recording that is prepared so for a speech model has noise that it did not have.
#
# Versions: pydub 0.25.1, soxr 1.1.0, numpy 2.4.6; Python 3.11 or 3.12 (from 3.13 on pydub needs audioop-lts, which
# pip installs below). Date: 2026-12-01.
# Output seen:
#   48000 to 16000 Hz, tone of 1000 Hz, heard at 1000 Hz: 0.0 dB; soxr 0.0 dB
#   48000 to 16000 Hz, tone of 9000 Hz, heard at 7000 Hz: 0.0 dB; soxr -60 dB or less
#   48000 to 16000 Hz, tone of 13000 Hz, heard at 3000 Hz: 0.0 dB; soxr -60 dB or less
#   44100 to 16000 Hz, tone of 9000 Hz, heard at 7000 Hz: -1.2 dB; soxr -60 dB or less
#   16000 to 48000 Hz, tone of 7000 Hz, heard at 7000 Hz: -5.2 dB; soxr -0.0 dB
#   16000 to 48000 Hz, tone of 7000 Hz, heard at 9000 Hz: -9.2 dB; soxr -60 dB or less
#   white noise, 48000 to 16000 Hz: 5.0 dB more than by soxr
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pydub==0.25.1 soxr==1.1.0 numpy==2.4.6 "audioop-lts==0.2.2; python_version >= '3.13'"
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import soxr
from pydub import AudioSegment

FULL = 32767


def tone(hertz, rate):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)


def with_pydub(sound, source, target):
    data = np.round(sound * FULL).astype("<i2").tobytes()
    segment = AudioSegment(data, frame_rate=source, sample_width=2, channels=1)
    return np.array(segment.set_frame_rate(target).get_array_of_samples()) / FULL


def with_soxr(sound, source, target):
    return soxr.resample(sound, source, target)


def decibels(sound, hertz, rate):
    """Level at a frequency, against that of the tone that went in."""
    wave = np.exp(-2j * np.pi * hertz * np.arange(len(sound)) / rate)
    return 20 * np.log10(2 * abs(sound @ wave) / len(sound) / 0.5 + 1e-6)


def words(level):
    return "-60 dB or less" if level <= -60 else f"{level:.1f} dB"


as_described = True
cases = [(48000, 16000, 1000, 1000), (48000, 16000, 9000, 7000), (48000, 16000, 13000, 3000)]
cases += [(44100, 16000, 9000, 7000), (16000, 48000, 7000, 7000), (16000, 48000, 7000, 9000)]
wanted = {(9000, 7000): (-2, 0.1), (13000, 3000): (-0.1, 0.1), (1000, 1000): (-0.1, 0.1)}
wanted |= {(7000, 7000): (-6, -4), (7000, 9000): (-10, -8)}
for source, target, hertz, heard in cases:
    found = decibels(with_pydub(tone(hertz, source), source, target), heard, target)
    other = decibels(with_soxr(tone(hertz, source), source, target), heard, target)
    print(f"{source} to {target} Hz, tone of {hertz} Hz, heard at {heard} Hz: {words(found)}; soxr {words(other)}")
    least, most = wanted[hertz, heard]
    as_described &= least <= found <= most and (other <= -60 if hertz != heard else abs(other) < 0.1)
noise = 0.1 * np.random.default_rng(0).standard_normal(48000)
levels = [20 * np.log10(np.std(resample(noise, 48000, 16000))) for resample in (with_pydub, with_soxr)]
print(f"white noise, 48000 to 16000 Hz: {levels[0] - levels[1]:.1f} dB more than by soxr")
if not (as_described and levels[0] > levels[1] + 4):
    sys.exit("changed: what the new rate cannot hold is taken out")
PYTHON
