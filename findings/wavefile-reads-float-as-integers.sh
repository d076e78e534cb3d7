#!/usr/bin/env bash
# npm's wavefile: 32-bit float in an extensible WAV file is read as integers. Only the signs of the samples are left.
#
# One would guess: a package that reads extensible files and float files reads extensible float files, or refuses them.
# What happens: only the format tag 3 makes 32 bits a float. An extensible file has the tag 65534, and its subformat
# says what it holds. That is not looked at, so the bits of each float are taken for an integer. Every sample then has
# nearly half of full scale, soft ones too, and there is no error. soundfile writes such files as WAVEX and RF64.
# FFmpeg does at 96 kHz or for three channels. Float of 64 bits is right.
# Two more. toBitDepth() of a file of u-law or A-law is 256 times too loud, or clips. It takes the width of 8 bits, and
# expands to 16 bits afterwards. fromMuLaw() and fromALaw() are right. And 3001 samples of 8 bits are read with 3002,
# since the byte that pads the chunk counts. It is 0, which is -1, so the sound ends with a click.
#
# Versions: wavefile 11.0.0 of npm, Node.js 20.20.2 (18 or newer will do). Date: 2026-12-01.
# Output seen (a tone with an amplitude of 0.05, so of -29 dB):
#   float, tag 3: bit depth 32f, as float64 -29 dB
#   float, extensible: bit depth 32, as float64 -6 dB
#   float64, extensible: bit depth 64, as float64 -29 dB
#   16 bits, extensible: bit depth 16, as float64 -29 dB
#   u-law, fromMuLaw("32f"): peak 0.05
#   u-law, toBitDepth("32f"): peak 13
#   u-law, toBitDepth("16"): peak 32768, 96 % of samples there
#   8 bits, 3000 samples: 3000 read, the last is 128
#   8 bits, 3001 samples: 3002 read, the last is 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit wavefile@11.0.0 >/dev/null
node - <<'JAVASCRIPT'
const { WaveFile } = require("wavefile");

const RATE = 16000;
const EXTENSIBLE = 65534;
const GUID_TAIL = Buffer.from("000000001000800000aa00389b71", "hex");

/** A WAV file of one channel, written without a library. `tag` says what the samples are. */
function file(tag, bits, samples, extensible = false) {
  const format = Buffer.alloc(extensible ? 40 : 16);
  format.writeUInt16LE(extensible ? EXTENSIBLE : tag, 0);
  format.writeUInt16LE(1, 2);
  format.writeUInt32LE(RATE, 4);
  format.writeUInt32LE((RATE * bits) / 8, 8);
  format.writeUInt16LE(bits / 8, 12);
  format.writeUInt16LE(bits, 14);
  if (extensible) {
    format.writeUInt16LE(22, 16);
    format.writeUInt16LE(bits, 18);
    format.writeUInt32LE(4, 20);
    format.writeUInt16LE(tag, 24);
    GUID_TAIL.copy(format, 26);
  }
  const data = Buffer.from(samples.buffer);
  const chunk = (name, body) => {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(body.length);
    return Buffer.concat([Buffer.from(name), size, body, Buffer.alloc(body.length % 2)]);
  };
  const chunks = Buffer.concat([Buffer.from("WAVE"), chunk("fmt ", format), chunk("data", data)]);
  return chunk("RIFF", chunks);
}

/** The u-law code of a sample from -1 to 1. */
function muLaw(value) {
  const magnitude = Math.min(Math.round(Math.abs(value) * 32768), 32635) + 132;
  const exponent = Math.floor(Math.log2(magnitude)) - 7;
  const mantissa = (magnitude >> (exponent + 3)) & 15;
  return ~((value < 0 ? 128 : 0) | (exponent << 4) | mantissa) & 255;
}

const tone = (length) => Array.from({ length }, (_, n) => 0.05 * Math.sin((2 * Math.PI * 440 * n) / RATE));
const wanted = tone(RATE);
const peak = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

let asDescribed = true;
for (const [name, tag, bits, samples, extensible] of [
  ["float, tag 3", 3, 32, Float32Array.from(wanted), false],
  ["float, extensible", 3, 32, Float32Array.from(wanted), true],
  ["float64, extensible", 3, 64, Float64Array.from(wanted), true],
  ["16 bits, extensible", 1, 16, Int16Array.from(wanted, (value) => Math.round(32767 * value)), true],
]) {
  const wav = new WaveFile(file(tag, bits, samples, extensible));
  const depth = wav.bitDepth;
  wav.toBitDepth("64");
  const found = wav.getSamples(false, Float64Array);
  const level = 10 * Math.log10(found.reduce((sum, value) => sum + value ** 2, 0) / found.length);
  console.log(`${name}: bit depth ${depth}, as float64 ${level.toFixed(0)} dB`);
  const right = depth !== "32" && Math.round(level) === -29;
  asDescribed = asDescribed && (name === "float, extensible" ? !right && level > -10 : right);
}

const coded = file(7, 8, Uint8Array.from(wanted, muLaw));
const expanded = new WaveFile(coded);
expanded.fromMuLaw("32f");
const loud = new WaveFile(coded);
loud.toBitDepth("32f");
const clipped = new WaveFile(coded);
clipped.toBitDepth("16");
const peaks = [expanded, loud, clipped].map((wav) => peak(wav.getSamples(false, Float64Array)));
const full = clipped.getSamples(false, Float64Array).filter((value) => Math.abs(value) >= 32767).length / RATE;
console.log(`u-law, fromMuLaw("32f"): peak ${peaks[0].toFixed(2)}`);
console.log(`u-law, toBitDepth("32f"): peak ${peaks[1].toFixed(0)}`);
console.log(`u-law, toBitDepth("16"): peak ${peaks[2]}, ${(100 * full).toFixed(0)} % of samples there`);
asDescribed = asDescribed && Math.abs(peaks[0] - 0.05) < 0.002 && peaks[1] > 12 && full > 0.5;

for (const count of [3000, 3001]) {
  const found = new WaveFile(file(1, 8, new Uint8Array(count).fill(128))).getSamples();
  console.log(`8 bits, ${count} samples: ${found.length} read, the last is ${found.at(-1)}`);
  asDescribed = asDescribed && found.length === 2 * Math.ceil(count / 2) && found.at(-1) === (count % 2 ? 0 : 128);
}
if (!asDescribed) {
  console.log("changed: subformats are looked at, or u-law or 8 bits are read right");
  process.exit(1);
}
JAVASCRIPT
