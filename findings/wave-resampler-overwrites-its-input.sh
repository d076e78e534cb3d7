#!/usr/bin/env bash
# npm's wave-resampler filters the caller's own samples: after a resampling downwards the original has lost its highs.
#
# One would guess: a function that returns new samples leaves the given ones as they are. The README shows
# "let newSamples = resample(samples, 48000, 44100)", and it names no change of samples.
# What happens: from a higher to a lower rate the low-pass filter, which is on by default, runs over the given array in
# place, forwards and backwards. A copy at 16 kHz for a network takes all above 8 kHz out of the recording at 48 kHz. A
# second call resamples what the first one left, so two rates in a row give the second one without its highs. Upwards,
# and with LPF: false, the samples stay as they are.
# There is no error. Give it a copy: resample(samples.slice(), ...).
#
# Versions: wave-resampler 1.0.0 of npm, Node.js 20.20.2 (18 or newer will do). Date: 2026-12-01.
# Output seen:
#   recording at 48 kHz, before: 0.400 at 1 kHz, 0.400 at 10 kHz
#   recording at 48 kHz, after resample(recording, 48000, 16000): 0.400 at 1 kHz, 0.000 at 10 kHz
#   recording at 48 kHz, after the same with { LPF: false }: 0.400 at 1 kHz, 0.400 at 10 kHz
#   resample(recording, 48000, 32000) as the second call: 0.400 at 1 kHz, 0.000 at 10 kHz
#   resample(recording, 48000, 32000) as the first call: 0.400 at 1 kHz, 0.360 at 10 kHz
#   recording at 48 kHz, after resample(recording, 48000, 96000): 0.400 at 1 kHz, 0.400 at 10 kHz
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit wave-resampler@1.0.0 >/dev/null
node - <<'JAVASCRIPT'
const { resample } = require("wave-resampler");

const RATE = 48000;

/** Tones of 1 and 10 kHz, each of an amplitude of 0.4. */
const sound = () =>
  Float64Array.from({ length: RATE }, (_, n) =>
    [1000, 10000].reduce((sum, hertz) => sum + 0.4 * Math.sin((2 * Math.PI * hertz * n) / RATE), 0));

function amplitude(samples, hertz, rate) {
  let real = 0;
  let imaginary = 0;
  samples.forEach((value, n) => {
    real += value * Math.cos((2 * Math.PI * hertz * n) / rate);
    imaginary += value * Math.sin((2 * Math.PI * hertz * n) / rate);
  });
  return (2 * Math.hypot(real, imaginary)) / samples.length;
}

const show = (name, samples, rate) => {
  const amplitudes = [1000, 10000].map((hertz) => amplitude(samples, hertz, rate));
  console.log(`${name}: ${amplitudes[0].toFixed(3)} at 1 kHz, ${amplitudes[1].toFixed(3)} at 10 kHz`);
  return amplitudes;
};

const seen = {};
const samples = sound();
seen.before = show("recording at 48 kHz, before", samples, RATE);
resample(samples, RATE, 16000);
seen.after = show("recording at 48 kHz, after resample(recording, 48000, 16000)", samples, RATE);
const unfiltered = sound();
resample(unfiltered, RATE, 16000, { LPF: false });
seen.unfiltered = show("recording at 48 kHz, after the same with { LPF: false }", unfiltered, RATE);
seen.second = show("resample(recording, 48000, 32000) as the second call", resample(samples, RATE, 32000), 32000);
seen.first = show("resample(recording, 48000, 32000) as the first call", resample(sound(), RATE, 32000), 32000);
const upwards = sound();
resample(upwards, RATE, 96000);
seen.upwards = show("recording at 48 kHz, after resample(recording, 48000, 96000)", upwards, RATE);
const asDescribed = ({ before, after, second, first, upwards, unfiltered }) =>
  before[1] > 0.39 && upwards[1] === before[1] && unfiltered[1] === before[1] &&
  first[1] > 0.3 && after[1] < 0.01 && second[1] < 0.01 && after[0] > 0.39;
if (!asDescribed(seen)) {
  console.log("changed: the samples stay as they are");
  process.exit(1);
}
JAVASCRIPT
