export interface EnhancerOptions {
  /** The largest attenuation of noise in dB, from 0; Infinity, the default, means no limit. */
  attenuationLimit?: number;
  /**
   * By how much more noise is turned down at most, in dB, from 0, the default. More of the speech is lost, too. Infinity
   * means as far as the network can.
   */
  extraReduction?: number;
  /** Whether the node passes its input, with the same delay. */
  bypass?: boolean;
  /** The place of lite_rtse.wasm, or its bytes. */
  wasm?: string | URL | BufferSource;
  /** The place of the weights, a safetensors file, or its bytes. */
  weights?: string | URL | BufferSource;
}

export interface Statistics {
  /** Quanta of sound so far. */
  quanta: number;
  /** Quanta that took longer to compute than they last. */
  late: number;
  /** Samples that were not finite, and frames in which a number overflowed. Both became silence. */
  faults: { samples: number; frames: number };
}

/** One channel in, one channel out. Several input channels are mixed. */
export declare class EnhancerNode extends AudioWorkletNode {
  private constructor();
  /** The delay of the output in seconds: 0.032 in a context at 16 kHz, 0.0405 at 48 kHz. */
  readonly delay: number;
  /** The largest attenuation of noise in dB. */
  attenuationLimit: number;
  /** By how much more noise is turned down at most, in dB. */
  extraReduction: number;
  /** Whether the output is the input, with the same delay. */
  bypass: boolean;
  /** Forgets the signal so far. */
  reset(): void;
  /** What the node has done so far. The context must be running. */
  statistics(): Promise<Statistics>;
  /** Ends the node for good. */
  close(): void;
}

/**
 * Loads the engine and its weights, and makes a node of them for a context at any rate. Rejects with an Error in words
 * where the browser lacks AudioWorklets or WebAssembly SIMD, and for files that are damaged or missing.
 */
export declare function createEnhancer(context: BaseAudioContext, options?: EnhancerOptions): Promise<EnhancerNode>;
