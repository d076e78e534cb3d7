/** Samples per second of all sound. */
export declare const SAMPLE_RATE: 16000;

/** Throws an Error that says what is missing if the bytes are no WebAssembly module that can run here. */
export declare function checkWasm(bytes: BufferSource): void;

/** One stream of samples through the network, for workers and Node.js. */
export declare class Engine {
  constructor(module: WebAssembly.Module, weights: Uint8Array);
  readonly delay: number;
  readonly faults: { samples: number; frames: number };
  process(input: Float32Array, output: Float32Array): void;
  reset(): void;
  setAttenuationLimit(db: number): void;
  setBypass(bypass: boolean): void;
}
