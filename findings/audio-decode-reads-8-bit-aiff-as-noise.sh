#!/usr/bin/env bash
# npm's audio-decode turns AIFF of 8 bits into loud noise, and makes CAF of u-law or A-law 12 or 18 dB too soft.
#
# One would guess: a decoder gives the samples that other decoders give, or refuses the file. The README of
# @audio/decode-aiff lists "8, 16, 24, and 32-bit signed big-endian PCM".
# What happens: bytes of an 8-bit AIFF file are taken as unsigned, so that silence becomes a constant -1, and a voice
# jumps between -1 and 1. The u-law of a CAF file is expanded to a quarter of its amplitude, and A-law
# to an eighth, with the other sign. In WAV and AIFF both laws are right. There is no error and no warning.
# Wanted is what libsndfile reads. FFmpeg (by PyAV 18.1.0) reads the same samples from the three kinds that are wrong.
#
# Versions: audio-decode 3.12.0 of npm with @audio/decode 3.16.2, decode-aiff 1.3.0, decode-caf 1.4.1, decode-wav 1.5.1;
# Node.js 20.20.2; soundfile 0.14.0, numpy 2.4.6. Date: 2026-12-01.
# Output seen:
#   silence, AIFF of PCM_S8: level 1.0000, wanted 0.0000, error 1.0000
#   voice, AIFF of PCM_S8: level 0.9558, wanted 0.0786, error 1.0000, the other sign
#   voice, CAF of ULAW: level 0.0196, wanted 0.0785, error 0.0589
#   voice, CAF of ALAW: level 0.0098, wanted 0.0786, error 0.0885, the other sign
#   voice, WAV of ULAW: level 0.0785, wanted 0.0785, error 0.0000
#   voice, WAV of ALAW: level 0.0786, wanted 0.0786, error 0.0000
#   voice, AIFF of ULAW: level 0.0785, wanted 0.0785, error 0.0000
#   voice, AIFF of ALAW: level 0.0786, wanted 0.0786, error 0.0000
#   voice, CAF of PCM_24: level 0.0784, wanted 0.0784, error 0.0000
#   voice, AIFF of PCM_16: level 0.0784, wanted 0.0784, error 0.0000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q soundfile==0.14.0 numpy==2.4.6
cd "$folder"
npm install --silent --no-fund --no-audit --ignore-scripts audio-decode@3.12.0 @audio/decode@3.16.2 \
  @audio/decode-aiff@1.3.0 @audio/decode-caf@1.4.1 @audio/decode-wav@1.5.1 >/dev/null
venv/bin/python - <<'PYTHON'
import numpy as np
import soundfile

RATE = 16000
time = np.arange(3 * RATE) / RATE
phase = 2 * np.pi * 120 * time + 40 * np.sin(2 * np.pi * 0.7 * time)
voice = 0.05 * sum(np.sin(k * phase) / np.sqrt(k) for k in range(1, 15)) * (1 + np.sin(2 * np.pi * 2.3 * time))
sounds = [("silence", "AIFF", "PCM_S8"), ("voice", "AIFF", "PCM_S8"), ("voice", "CAF", "ULAW")]
sounds += [("voice", "CAF", "ALAW")]
sounds += [("voice", container, law) for container in ("WAV", "AIFF") for law in ("ULAW", "ALAW")]
sounds += [("voice", "CAF", "PCM_24"), ("voice", "AIFF", "PCM_16")]
for number, (name, container, subtype) in enumerate(sounds):
    file = f"{number} {name}, {container} of {subtype}"
    soundfile.write(file, voice if name == "voice" else 0 * voice, RATE, format=container, subtype=subtype)
    soundfile.read(file, dtype="float32")[0].tofile(f"{file}.wanted")
PYTHON
cat >show.mjs <<'JAVASCRIPT'
import decode from "audio-decode";
import fs from "node:fs";

const level = (samples) => Math.sqrt(samples.reduce((sum, value) => sum + value ** 2, 0) / samples.length);
const wrong = /S8$|CAF of .LAW/;

let asDescribed = true;
for (const file of fs.readdirSync(".").filter((name) => /^\d/.test(name) && !name.endsWith("wanted")).sort()) {
  const found = (await decode(fs.readFileSync(file))).channelData[0];
  const bytes = fs.readFileSync(`${file}.wanted`);
  const wanted = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const error = level(wanted.map((value, n) => value - found[n]));
  const likeness = wanted.reduce((sum, value, n) => sum + value * found[n], 0);
  console.log(`${file.slice(2)}: level ${level(found).toFixed(4)}, wanted ${level(wanted).toFixed(4)}, ` +
    `error ${error.toFixed(4)}${likeness < 0 ? ", the other sign" : ""}`);
  asDescribed &&= found.length === wanted.length && (wrong.test(file) ? error > 0.03 : error === 0);
}
if (!asDescribed) {
  console.log("changed: other files are exact");
  process.exit(1);
}
JAVASCRIPT
node show.mjs
