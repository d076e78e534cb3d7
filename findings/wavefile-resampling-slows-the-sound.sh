#!/usr/bin/env bash
# npm's wavefile: toSampleRate slows the sound down, so that its end comes one sample of the input too late.
#
# One would guess: from 48 to 16 kHz, sample n of the result is the sound at sample 3n, up to the filter's errors.
# What happens: N samples that become M are read at steps of (N - 1) / M, and not of N / M. The sound runs slower, and
# the delay grows over the file to one sample of the input at its end, whatever the length and the method. That is
# 125 microseconds from 8 kHz, and 21 from 48 kHz. At 3 kHz from 8 kHz the end has nearly the other sign.
# The notes of versions 10.3 and 10.4 list methods and filters, and name no change of speed. A clean sound resampled so
# and a noisy one resampled by another library do not line up, and no constant delay brings them together.
#
# Versions: wavefile 11.0.0 of npm, Node.js 20.20.2 (18 or newer will do). Date: 2026-11-29.
# Output seen:
#   1000 Hz, 48000 to 16000 Hz, 1 s, cubic: 16000 samples, first fifth 36 dB, last 19 dB, last if slower 91 dB
#   1000 Hz, 48000 to 16000 Hz, 1 s, sinc: 16000 samples, first fifth 36 dB, last 19 dB, last if slower 103 dB
#   1000 Hz, 48000 to 16000 Hz, 4 s, cubic: 64000 samples, first fifth 36 dB, last 19 dB, last if slower 91 dB
#   1000 Hz, 48000 to 16000 Hz, 4 s, sinc: 64000 samples, first fifth 36 dB, last 19 dB, last if slower 103 dB
#   7000 Hz, 48000 to 16000 Hz, 1 s, cubic: 16000 samples, first fifth 20 dB, last 2 dB, last if slower 40 dB
#   7000 Hz, 48000 to 16000 Hz, 1 s, sinc: 16000 samples, first fifth 19 dB, last 2 dB, last if slower 64 dB
#   7000 Hz, 48000 to 16000 Hz, 4 s, cubic: 64000 samples, first fifth 20 dB, last 2 dB, last if slower 40 dB
#   7000 Hz, 48000 to 16000 Hz, 4 s, sinc: 64000 samples, first fifth 19 dB, last 2 dB, last if slower 64 dB
#   3000 Hz, 8000 to 48000 Hz, 1 s, cubic: 48000 samples, first fifth 8 dB, last -4 dB, last if slower 10 dB
#   3000 Hz, 8000 to 48000 Hz, 1 s, sinc: 48000 samples, first fifth 10 dB, last -4 dB, last if slower 14 dB
#   3000 Hz, 8000 to 48000 Hz, 4 s, cubic: 192000 samples, first fifth 8 dB, last -4 dB, last if slower 10 dB
#   3000 Hz, 8000 to 48000 Hz, 4 s, sinc: 192000 samples, first fifth 10 dB, last -4 dB, last if slower 14 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit wavefile@11.0.0 >/dev/null
node - <<'JAVASCRIPT'
const { WaveFile } = require("wavefile");

const tone = (hertz, rate, position) => 0.5 * Math.sin((2 * Math.PI * hertz * position) / rate);

/** A tone of some seconds, resampled. */
function resampled(hertz, from, to, seconds, options) {
  const samples = Float64Array.from({ length: from * seconds }, (_, n) => tone(hertz, from, n));
  const file = new WaveFile();
  file.fromScratch(1, from, "64", samples);
  file.toSampleRate(to, options);
  return file.getSamples(false, Float64Array);
}

/** How exact a part of a result is, if sample n is to be the tone at a position. */
function exactDb(result, hertz, rate, [start, end], position) {
  let power = 0;
  let error = 0;
  for (let n = Math.floor(start * result.length); n < Math.floor(end * result.length); n++) {
    const wanted = tone(hertz, rate, position(n));
    power += wanted ** 2;
    error += (result[n] - wanted) ** 2;
  }
  return 10 * Math.log10(power / error);
}

let asDescribed = true;
for (const [hertz, from, to] of [[1000, 48000, 16000], [7000, 48000, 16000], [3000, 8000, 48000]]) {
  for (const seconds of [1, 4]) {
    for (const method of ["cubic", "sinc"]) {
      const result = resampled(hertz, from, to, seconds, { method, LPF: false });
      const slow = (from * seconds - 1) / (to * seconds);
      const first = exactDb(result, hertz, from, [0.02, 0.2], (n) => (n * from) / to);
      const last = exactDb(result, hertz, from, [0.8, 0.98], (n) => (n * from) / to);
      const slower = exactDb(result, hertz, from, [0.8, 0.98], (n) => n * slow);
      console.log(`${hertz} Hz, ${from} to ${to} Hz, ${seconds} s, ${method}: ${result.length} samples, ` +
        `first fifth ${first.toFixed(0)} dB, last ${last.toFixed(0)} dB, last if slower ${slower.toFixed(0)} dB`);
      asDescribed = asDescribed && result.length === to * seconds && last < first - 6 && slower > last + 10;
    }
  }
}
if (!asDescribed) {
  console.log("changed: the sound keeps its speed");
  process.exit(1);
}
JAVASCRIPT
