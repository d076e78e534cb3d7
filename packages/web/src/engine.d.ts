/** Throws an Error that says what is missing if the bytes are no WebAssembly module that can run here. */
export declare function checkWasm(bytes: BufferSource): void;

/** Throws a RangeError unless a setting is a number of dB from 0 up. */
export declare function checkDecibels(name: string, db: unknown): void;

/** Throws an Error for an extra reduction with weights that do not state their minimum gain. */
export declare function checkExtraReduction(db: number, hasMinGain: boolean): void;

/** One stream of samples through the network, for workers and Node.js. At other rates than 16 kHz it converts. */
export declare class Engine {
  constructor(module: WebAssembly.Module, weights: Uint8Array, sampleRate?: number);
  readonly delay: number;
  readonly hasMinGain: boolean;
  readonly faults: { samples: number; frames: number };
  process(input: Float32Array, output: Float32Array): void;
  reset(): void;
  setAttenuationLimit(db: number): void;
  setExtraReduction(db: number): void;
  setBypass(bypass: boolean): void;
}
