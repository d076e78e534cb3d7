#!/usr/bin/env bash
# miniaudio: a recording of 48 kHz decoded to 16 kHz is one sample late, and holds its 9 kHz at half the amplitude.
#
# One would guess: decode(data, sample_rate=16000) cuts off what 16 kHz cannot hold, and keeps the time, as soxr does.
# What happens: an impulse at sample 3n comes out at sample n + 1. A tone of 9 kHz comes back as 7 kHz, 6 dB softer, and
# one of 7 kHz loses 1 dB. decode leaves out the last sample, convert_frames gives one more than a third of them.
# Sibilants lie up there. They fold into a band in which a network for 16 kHz has learned no such sounds.
# The C library resamples linearly, behind a low-pass filter of an order up to 8 (MA_MAX_FILTER_ORDER). The decode of
# the Python package has no argument for it.
# Decode at the recording's own rate, and resample with another library.
#
# Versions: miniaudio 1.71, soxr 1.1.0, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   decode: 16000 samples, impulse 1 late, 1 kHz +0 dB, 7 kHz -1 dB, 9 kHz -6 dB, 10 kHz -10 dB
#   convert_frames: 16001 samples, impulse 1 late, 1 kHz +0 dB, 7 kHz -1 dB, 9 kHz -6 dB, 10 kHz -10 dB
#   soxr: 16000 samples, impulse 0 late, 1 kHz +0 dB, 7 kHz +0 dB, 9 kHz -140 dB, 10 kHz -138 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q miniaudio==1.71 soxr==1.1.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import io
import sys
import wave

import miniaudio
import numpy as np
import soxr

FROM, TO = 48000, 16000


def decoded(samples):
    """What miniaudio makes of a WAV file of one second at 48 kHz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, FROM, 0, "NONE", ""))
        writer.writeframes(samples.astype("<i2").tobytes())
    result = miniaudio.decode(file.getvalue(), nchannels=1, sample_rate=TO)
    return np.array(result.samples, np.float64)


def converted(samples):
    kind = miniaudio.SampleFormat.SIGNED16
    data = samples.astype("<i2").tobytes()
    return np.frombuffer(bytes(miniaudio.convert_frames(kind, 1, FROM, data, kind, 1, TO)), "<i2").astype(np.float64)


def with_soxr(samples):
    return soxr.resample(samples.astype(np.float64), FROM, TO)


def gain_db(result, hertz):
    """The level of a tone at a frequency in the middle of a result, against the tone of amplitude 10000 put in."""
    middle = result[2000:14000]
    turns = np.exp(-2j * np.pi * hertz * np.arange(middle.size) / TO)
    return 20 * np.log10(max(2 * abs(middle @ turns) / middle.size, 1e-3) / 10000)


as_described = True
position = np.arange(FROM) / FROM
impulse = np.where(np.arange(FROM) == FROM // 2, 20000, 0)
for name, run in (("decode", decoded), ("convert_frames", converted), ("soxr", with_soxr)):
    result = run(impulse)
    late = int(np.argmax(np.abs(result))) - TO // 2
    gains = []
    for hertz in (1000, 7000, 9000, 10000):
        tone = 10000 * np.sin(2 * np.pi * hertz * position)
        gains.append(gain_db(run(tone), min(hertz, TO - hertz)))
    levels = ", ".join(
        f"{hertz // 1000} kHz {round(gain):+d} dB"
        for hertz, gain in zip((1000, 7000, 9000, 10000), gains)
    )
    print(f"{name}: {result.size} samples, impulse {late} late, {levels}")
    if name == "soxr":
        assert late == 0 and result.size == TO and gains[2] < -60
    else:
        as_described &= late == 1 and result.size == TO + (name == "convert_frames")
        as_described &= -8 < gains[2] < -4 and gains[3] > -15
if not as_described:
    sys.exit("changed: miniaudio keeps the time, or cuts off what 16 kHz cannot hold")
PYTHON
