#!/usr/bin/env bash
# A room that pyroomacoustics simulates answers before the direct sound has arrived.
#
# One would guess: a room's impulse response is zero until the direct sound, as no path is shorter. The library's
# fractional delays add 40 samples before it and 40 after; the time before those is empty.
# What happens: all reflections of the image method have one sign, so that the response has much energy near 0 Hz. By
# default a high-pass filter at 10 Hz takes it out. The filter runs forwards and backwards, and the backward run spreads
# a slow wave over the time before. It starts at the first sample, and has about half a percent of the energy here.
# With the filter off, that time is exactly empty. A search for the first sample that is not zero finds the wave.
#
# Versions: pyroomacoustics 0.10.1, numpy 2.4.6, scipy 1.17.1. Date: 2026-11-28.
# Output seen:
#   the direct sound arrives at sample 273, with its filter from 233
#   absorption 0.2, filter on: first sound at sample 0, before 232: -24 dB of the energy
#   absorption 0.2, filter off: first sound at sample 234, before 232: nothing
#   absorption 0.5, filter on: first sound at sample 0, before 232: -22 dB of the energy
#   absorption 0.5, filter off: first sound at sample 234, before 232: nothing
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyroomacoustics==0.10.1 numpy==2.4.6 scipy==1.17.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import pyroomacoustics as pra

RATE, SOURCE, MICROPHONE = 16000, [1, 1, 1.5], [5, 4, 1.2]


def response(absorption: float, filtered: bool) -> np.ndarray:
    pra.constants.set("rir_hpf_enable", filtered)
    room = pra.ShoeBox([6, 5, 3], fs=RATE, materials=pra.Material(absorption), max_order=10)
    room.add_source(SOURCE)
    room.add_microphone(MICROPHONE)
    room.compute_rir()
    return room.rir[0][0]


distance = np.linalg.norm(np.subtract(SOURCE, MICROPHONE))
half = pra.constants.get("frac_delay_length") // 2
arrival = int(distance / pra.constants.get("c") * RATE)  # the direct sound's delay filter begins here
print(f"the direct sound arrives at sample {arrival + half}, with its filter from {arrival}")
as_described = True
for absorption in (0.2, 0.5):
    for filtered in (True, False):
        answer = response(absorption, filtered)
        before = np.sum(answer[: arrival - 1] ** 2) / np.sum(answer**2)
        first = int(np.flatnonzero(answer)[0])
        shown = f"{10 * np.log10(before):.0f} dB of the energy" if before else "nothing"
        state = "on" if filtered else "off"
        print(f"absorption {absorption}, filter {state}: first sound at sample {first}, before {arrival - 1}: {shown}")
        as_described &= (first < 10 and before > 0.002) if filtered else (first >= arrival - 1 and before == 0)
if not as_described:
    sys.exit("changed: nothing comes before the direct sound, or something does with the filter off")
PYTHON
