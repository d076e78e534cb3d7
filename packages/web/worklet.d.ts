// What an AudioWorklet finds in its global scope, which the types of the DOM leave out.
declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, type: new (options: any) => AudioWorkletProcessor): void;
