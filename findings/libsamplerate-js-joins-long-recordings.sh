#!/usr/bin/env bash
# npm's libsamplerate-js: simple() joins two long recordings. The end of the first one is the start of the second.
#
# One would guess: simple() resamples one recording whole, whatever its length, and leaves nothing behind.
# What happens: up to 1,008,000 samples (21 s at 48 kHz) it does. A longer recording goes in pieces through the object's
# stream, which is never ended or reset. Its last 1 to 9 ms are lost. They come out at the start of the next long
# recording, which is that much too late for its whole length. The README says that long arrays use the stream. It does
# not say what follows. A clean and a noisy recording through one object do not line up any more, and SI-SNR falls.
# After simple() for a short recording, full() gives one block and then nothing. The flag end_of_input, which simple()
# sets, stays set for the object's stream. Make a new object for every recording, and append 10 ms of silence.
#
# Versions: @alexanderolsen/libsamplerate-js 2.1.2 of npm, Node.js 20.20.2 (18 or newer will do). Date: 2026-12-01.
# Output seen:
#   SINC_FASTEST, 48000 to 16000 Hz, 20 s: 0 samples lost, 0 found in the next, the same again 0 late
#   SINC_FASTEST, 48000 to 16000 Hz, 30 s: 19 samples lost, 19 found in the next, the same again 19 late
#   SINC_FASTEST, 16000 to 48000 Hz, 20 s: 0 samples lost, 0 found in the next, the same again 0 late
#   SINC_FASTEST, 16000 to 48000 Hz, 30 s: 60 samples lost, 60 found in the next, the same again 60 late
#   SINC_BEST_QUALITY, 48000 to 16000 Hz, 20 s: 0 samples lost, 0 found in the next, the same again 0 late
#   SINC_BEST_QUALITY, 48000 to 16000 Hz, 30 s: 143 samples lost, 143 found in the next, the same again 143 late
#   SINC_BEST_QUALITY, 16000 to 48000 Hz, 20 s: 0 samples lost, 0 found in the next, the same again 0 late
#   SINC_BEST_QUALITY, 16000 to 48000 Hz, 30 s: 432 samples lost, 432 found in the next, the same again 432 late
#   full() for 100 blocks of 10 ms: 15981 samples, after simple() 160
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit @alexanderolsen/libsamplerate-js@2.1.2 >/dev/null
node - <<'JAVASCRIPT'
const { create, ConverterType } = require("@alexanderolsen/libsamplerate-js");

const TONES = [211, 433, 977, 1801, 3137, 5923];
const toneAt = (time) => TONES.reduce((sum, hertz) => sum + 0.1 * Math.sin(2 * Math.PI * hertz * time), 0);

/** Some seconds of tones that are no harmonics of each other. */
function sound(rate, seconds) {
  return Float32Array.from({ length: rate * seconds }, (_, n) => toneAt(n / rate));
}

/** The greatest difference of two results over one second in their middle, the second one taken later by a lag. */
function difference(first, second, lag) {
  let greatest = 0;
  for (let n = 200000; n < 216000; n++) {
    greatest = Math.max(greatest, Math.abs(second[n + lag] - first[n]));
  }
  return greatest;
}

/** How many samples late the second of two results is. */
function late(first, second) {
  let best = 0;
  for (let lag = 1; lag < 600; lag++) {
    if (difference(first, second, lag) < difference(first, second, best)) best = lag;
  }
  return difference(first, second, best) < 1e-3 ? best : NaN;
}

async function main() {
  let asDescribed = true;
  for (const converter of ["SINC_FASTEST", "SINC_BEST_QUALITY"]) {
    for (const [from, to] of [[48000, 16000], [16000, 48000]]) {
      for (const seconds of [20, 30]) {
        const resampler = await create(1, from, to, { converterType: ConverterType[`SRC_${converter}`] });
        const recording = sound(from, seconds);
        const results = [1, 2].map(() => resampler.simple(recording));
        const lost = to * seconds - results[0].length;
        const lag = late(...results);
        resampler.simple(new Float32Array(from * seconds));
        resampler.simple(recording);
        const silence = resampler.simple(new Float32Array(from * seconds));
        const missing = (n) => toneAt(seconds - (lost - n) / to);
        const found = silence.subarray(0, lost / 2).every((value, n) => Math.abs(value - missing(n)) < 0.02);
        const left = found ? lost : 0;
        console.log(`${converter}, ${from} to ${to} Hz, ${seconds} s: ${lost} samples lost, ` +
          `${left} found in the next, the same again ${lag} late`);
        asDescribed = asDescribed && left === lost && lag === lost && lost > 0 === seconds > 20;
        resampler.destroy();
      }
    }
  }
  const counts = [];
  for (const before of [false, true]) {
    const resampler = await create(1, 48000, 16000);
    const second = sound(48000, 1);
    if (before) resampler.simple(second);
    let count = 0;
    for (let n = 0; n < second.length; n += 480) {
      count += resampler.full(second.subarray(n, n + 480)).length;
    }
    counts.push(count);
    resampler.destroy();
  }
  console.log(`full() for 100 blocks of 10 ms: ${counts[0]} samples, after simple() ${counts[1]}`);
  if (!asDescribed || counts[0] < 15900 || counts[1] > 200) {
    console.log("changed: long recordings are whole and apart, or full() works after simple()");
    process.exit(1);
  }
}

main();
JAVASCRIPT
