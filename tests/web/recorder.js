// Records both of its inputs from the first quantum on, and sends them when they are complete.
class Recorder extends AudioWorkletProcessor {
  constructor({ processorOptions: { seconds } }) {
    super();
    this.sides = [0, 1].map(() => new Float32Array(Math.round((seconds * sampleRate) / 128) * 128));
    this.at = 0;
  }

  process(inputs) {
    inputs.forEach(([channel], side) => channel && this.sides[side].set(channel, this.at));
    this.at += 128;
    if (this.at < this.sides[0].length) return true;
    this.port.postMessage(this.sides);
    return false;
  }
}

registerProcessor("recorder", Recorder);
