#!/usr/bin/env bash
# Asteroid: separate() makes the output as loud as the input. Noise that the network took away by 20 dB is back at once.
#
# One would guess: model.separate(sound) gives what the network gives, model(sound).
# What happens: the output is multiplied by sum(|input|) / sum(|output|), over all samples, all sources and all examples
# of a batch. So a recording of noise alone comes out as loud as it went in, though the network took 20 dB off it. The
# noise that is left in one example depends on what else is in its batch, and speech in that batch becomes louder.
# If the output of the network is 0, the result is NaN. separate(model, sound) and the files that separate(model,
# "name.wav") writes are of the same kind. The documentation names none of this. A comment in the source calls it the
# best that can be done for now. The usual SI-SNR does not see it, as it ignores the level. Call the network itself,
# under model.eval() and torch.no_grad(), to get its own output.
#
# Versions: asteroid 0.7.0, torch 2.14.1, torchaudio 2.11.1, numpy 2.4.6. Date: 2026-12-01.
# Output seen (a network that takes 20 dB off every soft example and leaves loud ones as they are):
#   soft noise: 20.0 dB less by the network, 0.0 dB less by model.separate()
#   soft noise in a file: 0.0 dB less by separate(model, "noise.wav")
#   soft noise beside a loud example: 20.0 dB less by the network, 19.3 dB less by model.separate()
#   that loud example: 0.0 dB less by the network, -0.7 dB less by model.separate()
#   a network whose output is 0: model.separate() gives only NaN
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q asteroid==0.7.0 requests==2.34.2 torch==2.14.1 torchaudio==2.11.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import soundfile
import torch
from asteroid.models import BaseModel
from asteroid.separate import separate

torch.set_num_threads(1)
RATE = 16000


class Suppressor(BaseModel):
    """Takes 20 dB off every example below -20 dBFS, as a network does with a recording of noise alone."""

    def __init__(self, gain=0.1):
        super().__init__(sample_rate=RATE)
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, sound):
        level = sound.square().mean(-1, keepdim=True).sqrt()
        return torch.where(level < 0.1, self.gain * sound, sound)


def less(sound, result):
    """By how many decibels each example of the result is softer than that of the sound."""
    power = sound.square().mean(-1) / result.square().mean(-1)
    return [round(value, 1) + 0.0 for value in (10 * power.log10()).flatten().tolist()]


random = torch.Generator().manual_seed(0)
noise = 0.03 * torch.randn(1, 1, RATE, generator=random)
loud = 0.3 * torch.randn(1, 1, RATE, generator=random)
model = Suppressor().eval()
with torch.no_grad():
    (network,), (separated,) = less(noise, model(noise)), less(noise, model.separate(noise))
    print(f"soft noise: {network} dB less by the network, {separated} dB less by model.separate()")
    as_described = abs(network - 20) < 0.2 and abs(separated) < 0.2

    soundfile.write("noise.wav", noise[0, 0].numpy(), RATE)
    separate(model, "noise.wav")
    written = soundfile.read("noise_est1.wav", dtype="float32")[0]
    (in_file,) = less(noise, torch.from_numpy(np.ascontiguousarray(written))[None, None])
    print(f'soft noise in a file: {in_file} dB less by separate(model, "noise.wav")')
    as_described &= abs(in_file) < 0.2

    batch = torch.cat([noise, loud])
    network, separated = less(batch, model(batch)), less(batch, model.separate(batch))
    for number, name in enumerate(("soft noise beside a loud example", "that loud example")):
        print(f"{name}: {network[number]} dB less by the network, {separated[number]} dB less by model.separate()")
        as_described &= separated[number] < network[number] - 0.4

    silenced = Suppressor(gain=0.0).eval().separate(noise)
    print(f"a network whose output is 0: model.separate() gives {'only' if silenced.isnan().all() else 'not only'} NaN")
    as_described &= bool(silenced.isnan().all())
if not as_described:
    sys.exit("changed: separate() gives what the network gives")
PYTHON
