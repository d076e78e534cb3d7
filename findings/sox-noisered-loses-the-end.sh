#!/usr/bin/env bash
# SoX: noisered leaves out the last 1024 samples of every file, 64 ms at 16 kHz, and an amount of 0 still reduces.
#
# One would guess: a denoiser gives as many samples as it gets, and an amount of 0 changes nothing. The manual says that
# the amount is between 0 and 1, and that higher numbers remove more noise. It names no shorter file.
# What happens: half a window of 2048 samples is not put out at the end, at any length, with no message and exit code 0.
# What is there lies in time. So the end of a last word is gone, and a metric that wants equal lengths fails. A file of
# 1000 samples becomes an empty one. With an amount of 0 a noise like that of the profile still loses 7 dB.
# Append 1024 samples or more of silence before (pad 0 2048s), and cut the result to length.
#
# Versions: Debian 12, sox 14.4.2+git20190427-3.5. It needs root if sox is not installed. Date: 2026-11-29.
# Output seen:
#   1000 samples: 1000 lost, of padded ones 0, in time: True
#   32768 samples: 1024 lost, of padded ones 0, in time: True
#   33000 samples: 1024 lost, of padded ones 0, in time: True
#   48000 samples: 1024 lost, of padded ones 0, in time: True
#   noise with an amount of 0: -6.7 dB
set -euo pipefail
version=14.4.2+git20190427-3.5
if [[ $(dpkg-query -W -f '${Version}' sox 2>/dev/null) != "$version" ]]; then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    {sox,libsox3,libsox-fmt-base}="$version" >/dev/null
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 - <<'PYTHON'
import array
import math
import random
import subprocess
import sys
import wave


def write(name, samples):
    with wave.open(name, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(array.array("h", samples).tobytes())


def reduced(samples, amount, *before):
    """What noisered makes of a sound."""
    write("sound.wav", samples)
    subprocess.run(["sox", "-D", "sound.wav", "result.wav", *before, "noisered", "profile", str(amount)], check=True)
    with wave.open("result.wav") as file:
        return array.array("h", file.readframes(file.getnframes()))


def level(samples):
    return math.sqrt(sum(sample**2 for sample in samples) / len(samples))


source = random.Random(0)
noise = [round(source.gauss(0, 300)) for _ in range(48000)]
write("noise.wav", noise[:16000])
subprocess.run(["sox", "noise.wav", "-n", "noiseprof", "profile"], check=True)
as_described = True
for length in (1000, 32768, 33000, 48000):
    tone = [round(8000 * math.sin(n / 5)) + noise[n] for n in range(length)]
    result, padded = reduced(tone, 0.2), reduced(tone, 0.2, "pad", "0", "2048s")
    lost = length - len(result)
    moved = max((abs(one - other) for one, other in zip(result[4096:24000], tone[4096:24000])), default=0)
    print(f"{length} samples: {lost} lost, of padded ones {max(0, length - len(padded))}, in time: {moved < 3000}")
    as_described &= lost == min(length, 1024) and moved < 3000 and len(padded) >= length
loss = 20 * math.log10(level(reduced(noise, 0)[4096:40000]) / level(noise[4096:40000]))
print(f"noise with an amount of 0: {loss:.1f} dB")
if not (as_described and loss < -3):
    sys.exit("changed: noisered keeps the end, or changes nothing with an amount of 0")
PYTHON
