// One signal through the C library lite_rtse.h as WebAssembly. Works in pages, workers, AudioWorklets and Node.js.

/** Samples per second that the network hears, and the rate of an Engine that is told no other. */
const SAMPLE_RATE = 16000;

const RANGE = 2; // LITE_RTSE_ERROR_RANGE
const MIN_GAIN = 12; // LITE_RTSE_ERROR_MIN_GAIN
const LIVE = 1;
const HIGH_PASS = 1;
const INT16 = 1;
const MESSAGE_BYTES = 400;
// What a call of the C library may take at once, in samples.
const MOST = 4096;

// (module (func (result v128) i32.const 0 i8x16.splat)): valid where SIMD is.
const SIMD_PROBE = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];

/**
 * Checks that the bytes are a WebAssembly module that can run here. Throws an Error that says what is missing.
 * @param {BufferSource} bytes
 */
export function checkWasm(bytes) {
  if (typeof WebAssembly !== "object") throw new Error("WebAssembly: expected in this browser, got none");
  if (!WebAssembly.validate(Uint8Array.from(SIMD_PROBE)))
    throw new Error("WebAssembly: expected SIMD (Chrome 91, Firefox 89, Safari 16.4 or later), got a browser without");
  if (!WebAssembly.validate(bytes))
    throw new Error(`wasm: expected the file lite_rtse.wasm, got ${bytes.byteLength} other or damaged bytes`);
}

/**
 * Throws a RangeError unless a setting is a number of dB from 0 up.
 * @param {string} name @param {unknown} db
 */
export function checkDecibels(name, db) {
  if (!(typeof db === "number" && db >= 0))
    throw new RangeError(`${name}: expected a number of dB from 0 to Infinity, got ${db}`);
}

/**
 * Throws an Error for an extra reduction with weights that do not state their minimum gain.
 * @param {number} db @param {boolean} hasMinGain
 */
export function checkExtraReduction(db, hasMinGain) {
  if (db > 0 && !hasMinGain)
    throw new Error(`extraReduction: expected 0 for weights that do not state their min_gain, got ${db}`);
}

/** One stream of samples through the network. Each call returns as many samples as it takes, `delay` samples later. */
export class Engine {
  #library;
  #stream = 0;
  #block;
  #written;
  #view;
  #hasMinGain;

  /**
   * Allocates all memory that the stream will ever need.
   * @param {WebAssembly.Module} module  lite_rtse.wasm
   * @param {Uint8Array} weights  the content of a safetensors file
   * @param {number} sampleRate  of the samples, in Hz; the engine converts to 16 kHz and back
   */
  constructor(module, weights, sampleRate = SAMPLE_RATE) {
    const library = /** @type {any} */ (new WebAssembly.Instance(module).exports);
    library._initialize();
    this.#library = library;
    this.#written = this.#allocate(16);
    this.#block = this.#allocate(4 * MOST);
    const network = this.#parse(weights);
    this.#stream = this.#create(network, sampleRate);
    library.lite_rtse_network_destroy(network);
    this.#view = new Float32Array(library.memory.buffer, this.#block, 128);
    this.#hasMinGain = library.lite_rtse_stream_set_extra_reduction(this.#stream, Infinity) !== MIN_GAIN;
    this.setExtraReduction(0);
  }

  /** The delay of the output in samples. */
  get delay() {
    this.#check(this.#library.lite_rtse_stream_latency(this.#stream, this.#written));
    return this.#result(0);
  }

  /** Whether the weights state their minimum gain, which an extra reduction lowers. */
  get hasMinGain() {
    return this.#hasMinGain;
  }

  /** What was repaired so far: samples that were not finite, and frames in which a number overflowed. */
  get faults() {
    this.#check(this.#library.lite_rtse_stream_faults(this.#stream, this.#written, this.#written + 8));
    return { samples: this.#result(0), frames: this.#result(2) };
  }

  /**
   * Enhances samples. Calls of equal length allocate nothing.
   * @param {Float32Array} input  mono, full scale 1; NaN and infinity count as 0
   * @param {Float32Array} output  as long as the input; may be the input itself
   */
  process(input, output) {
    const count = input.length;
    if (count !== output.length) throw new Error(`output: expected ${count} samples, got ${output.length}`);
    if (count > MOST) return this.#processPieces(input, output);
    if (count !== this.#view.length)
      this.#view = new Float32Array(this.#library.memory.buffer, this.#block, count);
    this.#view.set(input);
    const block = this.#block;
    this.#check(this.#library.lite_rtse_stream_process(this.#stream, block, count, block, count, this.#written));
    output.set(this.#view);
  }

  /** Forgets the signal so far. Settings are kept. */
  reset() {
    this.#check(this.#library.lite_rtse_stream_reset(this.#stream));
  }

  /** @param {number} db  the largest attenuation of noise, from 0; Infinity: no limit */
  setAttenuationLimit(db) {
    checkDecibels("attenuationLimit", db);
    this.#check(this.#library.lite_rtse_stream_set_attenuation_limit(this.#stream, db));
  }

  /** @param {number} db  by how much more noise is turned down at most, from 0; Infinity: as far as the network can */
  setExtraReduction(db) {
    checkDecibels("extraReduction", db);
    checkExtraReduction(db, this.#hasMinGain);
    this.#check(this.#library.lite_rtse_stream_set_extra_reduction(this.#stream, db));
  }

  /** @param {boolean} bypass  whether the output is the delayed input */
  setBypass(bypass) {
    this.#check(this.#library.lite_rtse_stream_set_wet(this.#stream, bypass ? 0 : 1));
  }

  /** @param {Float32Array} input @param {Float32Array} output */
  #processPieces(input, output) {
    for (let at = 0; at < input.length; at += MOST)
      this.process(input.subarray(at, at + MOST), output.subarray(at, at + MOST));
  }

  /** @param {number} bytes */
  #allocate(bytes) {
    const address = this.#library.malloc(bytes);
    if (address === 0) throw new Error(`memory: expected ${bytes} bytes, got none`);
    return address;
  }

  /** @param {Uint8Array} weights @returns {number} */
  #parse(weights) {
    const library = this.#library;
    const message = this.#allocate(MESSAGE_BYTES);
    const data = this.#allocate(weights.length || 1);
    new Uint8Array(library.memory.buffer, data).set(weights);
    const status = library.lite_rtse_network_parse(data, weights.length, INT16, this.#written, message, MESSAGE_BYTES);
    const text = this.#text(message);
    library.free(data);
    library.free(message);
    if (status !== 0) throw new Error(`weights: expected a file of Lite-RTSE weights, got: ${text}`);
    return this.#result(0);
  }

  /** @param {number} network @param {number} sampleRate @returns {number} */
  #create(network, sampleRate) {
    const library = this.#library;
    const rate = Number.isInteger(sampleRate) ? sampleRate : 0;
    const status = library.lite_rtse_stream_create_at(network, LIVE, HIGH_PASS, rate, 1, this.#written);
    if (status === RANGE)
      throw new RangeError(`sampleRate: expected a whole number of Hz from 1000 to 1000000, got ${sampleRate}`);
    this.#check(status);
    return this.#result(0);
  }

  /** @param {number} index  of a 32-bit number in the results of a call */
  #result(index) {
    return new Uint32Array(this.#library.memory.buffer, this.#written, 4)[index];
  }

  /** @param {number} address */
  #text(address) {
    const bytes = new Uint8Array(this.#library.memory.buffer, address);
    return String.fromCharCode(...bytes.subarray(0, bytes.indexOf(0)));
  }

  /** @param {number} status */
  #check(status) {
    if (status !== 0) throw new Error(`lite_rtse: ${this.#text(this.#library.lite_rtse_status_text(status))}`);
  }
}
