#!/usr/bin/env bash
# npm's wav-decoder and node-wav: the lowest value of 24 bits is read as +1. A clipped recording has clicks then.
#
# One would guess: a WAV file of 24 bits is read as it is, up to its last step, like one of 16 or 32 bits.
# What happens: the sample -8388608, which is -1, becomes +1. All other values are right. Both readers subtract 2^24
# from values greater than 0x800000, and not from 0x800000 itself. A recording that clips has this value in every
# negative peak that clips, and each of them becomes a positive one: clicks of twice full scale. wav-decoder does so
# with symmetric=true too. The encoders of both packages write -1 as this value, which is right. So what they wrote
# comes back changed. Files of 16 and 32 bits are right.
#
# Versions: wav-decoder 1.3.0, wav-encoder 1.3.0 and node-wav 0.0.2 of npm, Node.js 20.20.2 (18 or newer will do).
# Date: 2026-12-01.
# Output seen (a sine of 200 Hz of 1 s at 16 kHz, 3.5 dB above full scale, clipped):
#   16 bits, wav-decoder: 0 of 4200 samples at -1 are read as +1, SNR 96 dB
#   16 bits, wav-decoder, symmetric: 0 of 4200 samples at -1 are read as +1, SNR 94 dB
#   16 bits, node-wav: 0 of 4200 samples at -1 are read as +1, SNR 96 dB
#   24 bits, wav-decoder: 4200 of 4200 samples at -1 are read as +1, SNR -2 dB
#   24 bits, wav-decoder, symmetric: 4200 of 4200 samples at -1 are read as +1, SNR -2 dB
#   24 bits, node-wav: 4200 of 4200 samples at -1 are read as +1, SNR -2 dB
#   32 bits, wav-decoder: 0 of 4200 samples at -1 are read as +1, SNR 100 dB or more
#   32 bits, wav-decoder, symmetric: 0 of 4200 samples at -1 are read as +1, SNR 100 dB or more
#   32 bits, node-wav: 0 of 4200 samples at -1 are read as +1, SNR 100 dB or more
#   24 bits, written by wav-encoder: -1 is 0x800000
#   24 bits, written by node-wav: -1 is 0x800000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit wav-decoder@1.3.0 wav-encoder@1.3.0 node-wav@0.0.2 >/dev/null
node - <<'JAVASCRIPT'
const decoder = require("wav-decoder");
const encoder = require("wav-encoder");
const wav = require("node-wav");

const RATE = 16000;
const READERS = {
  "wav-decoder": (file) => decoder.decode.sync(file).channelData[0],
  "wav-decoder, symmetric": (file) => decoder.decode.sync(file, { symmetric: true }).channelData[0],
  "node-wav": (file) => wav.decode(file).channelData[0],
};

/** A WAV file of one channel, written without a library. */
function file(samples, bits) {
  const bytes = bits / 8;
  const data = Buffer.alloc(44 + samples.length * bytes);
  data.write("RIFF", 0);
  data.writeUInt32LE(data.length - 8, 4);
  data.write("WAVEfmt ", 8);
  data.writeUInt32LE(16, 16);
  data.writeUInt16LE(1, 20);
  data.writeUInt16LE(1, 22);
  data.writeUInt32LE(RATE, 24);
  data.writeUInt32LE(RATE * bytes, 28);
  data.writeUInt16LE(bytes, 32);
  data.writeUInt16LE(bits, 34);
  data.write("data", 36);
  data.writeUInt32LE(samples.length * bytes, 40);
  const scale = 2 ** (bits - 1);
  samples.forEach((value, n) => {
    const step = Math.max(-scale, Math.min(scale - 1, Math.round(value * scale)));
    data.writeIntLE(step, 44 + n * bytes, bytes);
  });
  return data;
}

const loud = (n) => Math.max(-1, Math.min(1, 1.5 * Math.sin((2 * Math.PI * 200 * n) / RATE)));
const sound = Float32Array.from({ length: RATE }, (_, n) => loud(n));
const lowest = sound.filter((value) => value === -1).length;
let asDescribed = true;
for (const bits of [16, 24, 32]) {
  for (const [name, read] of Object.entries(READERS)) {
    const found = read(file(sound, bits));
    const flipped = found.filter((value, n) => sound[n] === -1 && value > 0.99).length;
    const power = sound.reduce((sum, value) => sum + value ** 2, 0);
    const error = sound.reduce((sum, value, n) => sum + (value - found[n]) ** 2, 0);
    const snr = 10 * Math.log10(power / error);
    console.log(`${bits} bits, ${name}: ${flipped} of ${lowest} samples at -1 are read as +1, ` +
      `SNR ${snr < 100 ? `${snr.toFixed(0)} dB` : "100 dB or more"}`);
    asDescribed = asDescribed && (bits === 24 ? flipped === lowest && snr < 0 : flipped === 0 && snr > 90);
  }
}
const minimum = Float32Array.from([-1]);
const written = {
  "wav-encoder": Buffer.from(encoder.encode.sync({ sampleRate: RATE, channelData: [minimum] }, { bitDepth: 24 })),
  "node-wav": wav.encode([minimum], { sampleRate: RATE, bitDepth: 24 }),
};
for (const [name, data] of Object.entries(written)) {
  const value = data.readUIntLE(44, 3);
  console.log(`24 bits, written by ${name}: -1 is 0x${value.toString(16)}`);
  asDescribed = asDescribed && value === 0x800000;
}
if (!asDescribed) {
  console.log("changed: 24 bits are read right, or other depths are not");
  process.exit(1);
}
JAVASCRIPT
