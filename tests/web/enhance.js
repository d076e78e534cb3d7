// node enhance.js BLOCKS < input > output: float32 samples through the engine, in blocks of these lengths in turn.
// With settings as JSON after the lengths: {"sampleRate": 48000, "attenuationLimit": 6, "extraReduction": 6,
// "bypass": true}
import { readFileSync, writeSync } from "node:fs";

import { Engine } from "../../packages/web/src/engine.js";

const DIST = new URL("../../packages/web/dist/", import.meta.url);
const [lengths, settings = "{}"] = process.argv.slice(2);
const { sampleRate, attenuationLimit, extraReduction, bypass } = JSON.parse(settings);
const module = new WebAssembly.Module(readFileSync(new URL("lite_rtse.wasm", DIST)));
const engine = new Engine(module, readFileSync(new URL("lite-rtse.int16.safetensors", DIST)), sampleRate);
if (attenuationLimit !== undefined) engine.setAttenuationLimit(attenuationLimit);
if (extraReduction !== undefined) engine.setExtraReduction(extraReduction);
if (bypass !== undefined) engine.setBypass(bypass);

const bytes = readFileSync(0);
const samples = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const blocks = lengths.split(",").map(Number);
for (let at = 0, i = 0; at < samples.length; ++i) {
  const block = samples.subarray(at, at + blocks[i % blocks.length]);
  engine.process(block, block);
  at += block.length;
}
const output = new Uint8Array(samples.buffer);
for (let at = 0; at < output.length; ) at += writeSync(1, output, at);
console.error(JSON.stringify({ delay: engine.delay, faults: engine.faults }));
