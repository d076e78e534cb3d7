// The AudioWorkletProcessor. The engine's own ring buffers collect quanta of 128 samples to frames of 16 ms. So at 48 kHz
// every sixth quantum computes a frame, at 16 kHz every second one. Nothing is allocated after the start.
import { Engine } from "./engine.js";

class LiteRtseProcessor extends AudioWorkletProcessor {
  /** @type {Engine | null} */
  #engine = null;
  #silence = new Float32Array(128);
  #quanta = 0;
  #late = 0;
  #faults = { samples: 0, frames: 0 };

  /** @param {AudioWorkletNodeOptions} options */
  constructor({ processorOptions: { wasm, weights, settings } }) {
    super();
    this.port.onmessage = ({ data }) => this.#receive(data);
    try {
      this.#engine = new Engine(new WebAssembly.Module(wasm), weights, sampleRate);
      this.#receive(settings);
      this.port.postMessage({ ready: { delay: this.#engine.delay, hasMinGain: this.#engine.hasMinGain } });
    } catch (error) {
      // Nobody gets this node. Its processor would run as long as its context.
      this.#engine = null;
      this.port.postMessage({ error: error instanceof Error ? error.message : String(error) });
    }
  }

  /** @param {Float32Array[][]} inputs @param {Float32Array[][]} outputs */
  process(inputs, outputs) {
    // The browser goes on to call a closed node's processor while a source is connected to the node.
    if (this.#engine === null) return false;
    const output = outputs[0][0];
    const input = inputs[0].length > 0 ? inputs[0][0] : this.#silenceOf(output.length);
    const begin = Date.now();
    this.#engine.process(input, output);
    // The clock has steps of a millisecond.
    if (Date.now() - begin > 1 + (1000 * output.length) / sampleRate) this.#late += 1;
    this.#quanta += 1;
    return true;
  }

  /** @param {number} length */
  #silenceOf(length) {
    if (this.#silence.length !== length) this.#silence = new Float32Array(length);
    return this.#silence;
  }

  /**
   * @param {{
   *   attenuationLimit?: number, extraReduction?: number, bypass?: boolean, reset?: true, close?: true,
   *   statistics?: number
   * }} message
   */
  #receive({ attenuationLimit, extraReduction, bypass, reset, close, statistics }) {
    if (this.#engine !== null) {
      if (attenuationLimit !== undefined) this.#engine.setAttenuationLimit(attenuationLimit);
      if (extraReduction !== undefined) this.#engine.setExtraReduction(extraReduction);
      if (bypass !== undefined) this.#engine.setBypass(bypass);
      if (reset) this.#engine.reset();
      this.#faults = this.#engine.faults;
    }
    if (close) this.#engine = null;
    if (statistics !== undefined)
      this.port.postMessage({ statistics, value: { quanta: this.#quanta, late: this.#late, faults: this.#faults } });
  }
}

registerProcessor("lite-rtse", LiteRtseProcessor);
