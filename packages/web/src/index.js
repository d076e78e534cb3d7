// Noise suppression in a web page: a node between a microphone, or any other source, and where the sound goes.
//
//   const context = new AudioContext();
//   const enhancer = await createEnhancer(context);
//   microphone.connect(enhancer).connect(context.destination);
import { checkDecibels, checkExtraReduction, checkWasm } from "./engine.js";

const PROCESSOR = new URL("./processor.js", import.meta.url);
const WASM = new URL("../dist/lite_rtse.wasm", import.meta.url);
const WEIGHTS = new URL("../dist/lite-rtse.int16.safetensors", import.meta.url);

/** @typedef {import("./index.d.ts").EnhancerOptions} EnhancerOptions */

// Neither Node.js nor a page that is not secure has the class AudioWorkletNode. Both can import this module.
const Base = /** @type {typeof AudioWorkletNode} */ (globalThis.AudioWorkletNode ?? Object);

/** The node. `createEnhancer` makes it. */
export class EnhancerNode extends Base {
  #attenuationLimit;
  #extraReduction;
  #bypass;
  #hasMinGain = false;
  #delay = 0;
  #asked = 0;
  /** @type {Map<number, (value: any) => void>} */
  #answers = new Map();
  #begun;

  /**
   * @param {BaseAudioContext} context @param {Uint8Array} wasm @param {Uint8Array} weights
   * @param {{ attenuationLimit: number, extraReduction: number, bypass: boolean }} settings
   */
  constructor(context, wasm, weights, settings) {
    checkDecibels("attenuationLimit", settings.attenuationLimit);
    checkDecibels("extraReduction", settings.extraReduction);
    checkBypass(settings.bypass);
    super(context, "lite-rtse", {
      numberOfInputs: 1,
      numberOfOutputs: 1,
      outputChannelCount: [1],
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { wasm, weights, settings },
    });
    this.#attenuationLimit = settings.attenuationLimit;
    this.#extraReduction = settings.extraReduction;
    this.#bypass = settings.bypass;
    this.#begun = new Promise((resolve, reject) => {
      this.port.onmessage = ({ data }) => {
        if (data.error !== undefined) reject(new Error(data.error));
        if (data.ready !== undefined) resolve(this.#loaded(data.ready));
        if (data.statistics !== undefined) this.#answer(data.statistics, data.value);
      };
      this.onprocessorerror = () => reject(new Error("the AudioWorklet failed"));
    });
  }

  /** Settles when the network is loaded. */
  get begun() {
    return this.#begun;
  }

  /** The delay of the output in seconds. */
  get delay() {
    return this.#delay / this.context.sampleRate;
  }

  get attenuationLimit() {
    return this.#attenuationLimit;
  }
  set attenuationLimit(db) {
    checkDecibels("attenuationLimit", db);
    this.#attenuationLimit = db;
    this.port.postMessage({ attenuationLimit: db });
  }

  get extraReduction() {
    return this.#extraReduction;
  }
  set extraReduction(db) {
    checkDecibels("extraReduction", db);
    checkExtraReduction(db, this.#hasMinGain);
    this.#extraReduction = db;
    this.port.postMessage({ extraReduction: db });
  }

  get bypass() {
    return this.#bypass;
  }
  set bypass(bypass) {
    checkBypass(bypass);
    this.#bypass = bypass;
    this.port.postMessage({ bypass });
  }

  reset() {
    this.port.postMessage({ reset: true });
  }

  statistics() {
    const number = this.#asked++;
    return new Promise((resolve) => {
      this.#answers.set(number, resolve);
      this.port.postMessage({ statistics: number });
    });
  }

  close() {
    this.disconnect();
    this.port.postMessage({ close: true });
  }

  /** @param {{ delay: number, hasMinGain: boolean }} network */
  #loaded({ delay, hasMinGain }) {
    this.#delay = delay;
    this.#hasMinGain = hasMinGain;
  }

  /** @param {number} number @param {unknown} value */
  #answer(number, value) {
    this.#answers.get(number)?.(value);
    this.#answers.delete(number);
  }
}

/**
 * Loads the engine and its weights, and makes a node of them.
 * @param {BaseAudioContext} context
 * @param {EnhancerOptions} [options]
 */
export async function createEnhancer(context, options = {}) {
  const { wasm = WASM, weights = WEIGHTS, attenuationLimit = Infinity, extraReduction = 0, bypass = false } = options;
  if (!context.audioWorklet)
    throw new Error("context.audioWorklet: expected a page from https or localhost, got one without AudioWorklets");
  const [code, numbers] = await Promise.all([
    bytesOf(wasm, "wasm"),
    bytesOf(weights, "weights"),
    context.audioWorklet.addModule(PROCESSOR).catch((error) => {
      throw new Error(`processor.js: expected a module at ${PROCESSOR}, got none that can be loaded: ${error.message}`);
    }),
  ]);
  checkWasm(code);
  const node = new EnhancerNode(context, code, numbers, { attenuationLimit, extraReduction, bypass });
  await node.begun;
  return node;
}

/** @param {unknown} bypass */
function checkBypass(bypass) {
  if (typeof bypass !== "boolean") throw new TypeError(`bypass: expected true or false, got ${bypass}`);
}

/**
 * The content of a file, or bytes as they are.
 * @param {string | URL | BufferSource} source @param {string} name
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function bytesOf(source, name) {
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (ArrayBuffer.isView(source))
    return new Uint8Array(/** @type {ArrayBuffer} */ (source.buffer), source.byteOffset, source.byteLength);
  const response = await fetch(source).catch((error) => {
    throw new Error(`${name}: expected a file at ${source}, got none: ${error.message}`);
  });
  if (!response.ok) throw new Error(`${name}: expected a file at ${source}, got status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
