// Times frames of the engine and of RNNoise in one thread of the browser, in turns, and sends the milliseconds.
import { Rnnoise } from "/npm/@shiguredo/rnnoise-wasm/dist/rnnoise.js";
import { Engine } from "/src/engine.js";

const RNNOISE_SCALE = 32768; // it takes samples in the range of 16-bit integers

/** Noise that is the same in every run. @param {number} seed */
function noise(seed) {
  return () => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff) / 0x40000000 - 1;
}

async function candidates() {
  const [wasm, weights] = await Promise.all(
    ["/dist/lite_rtse.wasm", "/dist/lite-rtse.int16.safetensors"].map(async (path) => (await fetch(path)).arrayBuffer()),
  );
  const engine = new Engine(await WebAssembly.compile(wasm), new Uint8Array(weights));
  const denoiser = (await Rnnoise.load()).createDenoiseState();
  return [
    { name: "lite-rtse", length: 256, scale: 0.1, run: (frame) => engine.process(frame, frame), times: [] },
    { name: "rnnoise", length: 480, scale: 0.1 * RNNOISE_SCALE, run: (frame) => denoiser.processFrame(frame), times: [] },
  ];
}

/** The frames of one round, of which the first ones are not timed. */
function round({ length, scale, run, times }, frames, next) {
  const frame = new Float32Array(length);
  for (let i = -20; i < frames; ++i) {
    for (let n = 0; n < length; ++n) frame[n] = scale * next();
    const begin = performance.now();
    run(frame);
    const time = performance.now() - begin;
    if (i >= 0) times.push(time);
  }
}

onmessage = async ({ data: { rounds, frames } }) => {
  const all = await candidates();
  const next = noise(1);
  for (const candidate of all) round({ ...candidate, times: [] }, 500, next); // until the code is compiled in full
  for (let i = 0; i < rounds; ++i) for (const candidate of i % 2 ? [...all].reverse() : all) round(candidate, frames, next);
  postMessage(Object.fromEntries(all.map(({ name, times }) => [name, times])));
};
