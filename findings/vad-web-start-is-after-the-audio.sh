#!/usr/bin/env bash
# npm's @ricky0123/vad-web: the start of a segment is up to 0.8 s later than the first sample of its audio.
#
# One would guess: audio, start and end of NonRealTimeVAD.run belong together: audio is the input from start to end.
# What happens: start is the frame in which speech was noticed. audio begins preSpeechPadMs before it, which is 0.8 s if
# nothing is said, and ends at end. So audio is longer than end - start, and by how much depends on what is before: a
# segment soon after the start of the recording or after another segment has less. Who cuts an enhanced version of the
# recording from start to end loses the first sounds that the VAD kept, and words that are timed within audio and
# placed at start come up to 0.8 s late. The README does not name it. The true place is end - audio.length / 16 ms.
# @ricky0123/vad-node 0.0.3 does the same, with 96 ms.
#
# Versions: @ricky0123/vad-web 0.0.31 and onnxruntime-web 1.30.0 of npm, Node.js 20.20.2 (18 or newer will do).
# Date: 2026-12-01.
# Output seen (vowels at 2 to 4 s and at 10 to 12 s of 15 s in soft noise; the place is where audio lies in the input):
#   the default: start 2016 ms, end 5472 ms, place of audio 1248 to 5472 ms
#   the default: start 9984 ms, end 13440 ms, place of audio 9216 to 13440 ms
#   preSpeechPadMs 192: start 2016 ms, end 5472 ms, place of audio 1824 to 5472 ms
#   preSpeechPadMs 192: start 9984 ms, end 13440 ms, place of audio 9792 to 13440 ms
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit @ricky0123/vad-web@0.0.31 onnxruntime-web@1.30.0 >/dev/null
node - >lines <<'JAVASCRIPT' || { cat lines; exit 1; }
const { readFile } = require("node:fs/promises");
const { NonRealTimeVAD } = require("@ricky0123/vad-web");

const RATE = 16000;
const SPOKEN = [[2, 4], [10, 12]];
const FORMANTS = [[700, 1200, 2600], [300, 2200, 3000], [500, 900, 2400], [350, 800, 2300], [450, 1800, 2500]];
const MODEL = "node_modules/@ricky0123/vad-web/dist/silero_vad_legacy.onnx";

/** 15 s of soft noise, with vowels of a quarter of a second where something is spoken. */
function recording() {
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647 - 0.5;
  const samples = Float32Array.from({ length: 15 * RATE }, () => 0.002 * random());
  const size = RATE / 4;
  let phase = 0;
  for (const [from, to] of SPOKEN) {
    for (let vowel = 0; vowel < 4 * (to - from); vowel++) {
      let sound = Float64Array.from({ length: size }, (_, n) => {
        const before = phase;
        phase += (120 + 25 * Math.sin((2 * Math.PI * 0.7 * (vowel * size + n)) / RATE)) / RATE;
        return Math.floor(phase) - Math.floor(before) + 0.004 * random();
      });
      FORMANTS[(vowel * 3) % 5].forEach((formant, number) => {
        const pole = Math.exp((-Math.PI * (80 + 20 * number)) / RATE);
        const turn = 2 * pole * Math.cos((2 * Math.PI * formant) / RATE);
        const filtered = new Float64Array(size);
        for (let n = 0; n < size; n++) {
          filtered[n] = (1 - pole) * sound[n] + turn * (filtered[n - 1] ?? 0) - pole ** 2 * (filtered[n - 2] ?? 0);
        }
        sound = filtered;
      });
      const level = Math.sqrt(sound.reduce((sum, value) => sum + value ** 2, 0) / size);
      for (let n = 0; n < size; n++) {
        samples[from * RATE + vowel * size + n] += (0.1 * sound[n] * Math.sin((Math.PI * n) / size) ** 0.5) / level;
      }
    }
  }
  return samples;
}

/** Where audio lies in samples, in milliseconds. */
function place(samples, audio) {
  for (let first = 0; first + audio.length <= samples.length; first++) {
    let same = true;
    for (let n = 0; same && n < audio.length; n += 7) {
      same = samples[first + n] === audio[n];
    }
    if (same) {
      return first / 16;
    }
  }
  return NaN;
}

async function main() {
  const samples = recording();
  let asDescribed = true;
  for (const options of [{}, { preSpeechPadMs: 192 }]) {
    const modelFetcher = async () => (await readFile(MODEL)).buffer;
    const vad = await NonRealTimeVAD.new({ ...options, modelFetcher });
    let segments = 0;
    for await (const { audio, start, end } of vad.run(samples, RATE)) {
      const first = place(samples, audio);
      const last = first + audio.length / 16;
      const name = options.preSpeechPadMs === undefined ? "the default" : `preSpeechPadMs ${options.preSpeechPadMs}`;
      console.log(`${name}: start ${start} ms, end ${end} ms, place of audio ${first} to ${last} ms`);
      const pad = options.preSpeechPadMs ?? 768;
      asDescribed &&= Math.abs(start - first - pad) < 100 && last === end;
      segments++;
    }
    asDescribed &&= segments === 2;
  }
  if (!asDescribed) {
    console.log("changed: audio begins at start, or the segments are others");
    process.exit(1);
  }
}
main();
JAVASCRIPT
grep -v "^VAD" lines
