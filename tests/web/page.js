// Functions for the tests in Python, as window.lab. Samples are float32 in base64.
import * as engine from "/src/engine.js";
import * as liteRtse from "/src/index.js";

/** @param {string} text */
function decode(text) {
  return new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

/** @param {Float32Array} samples */
function encode(samples) {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** What an OfflineAudioContext makes of the samples. */
async function offline(input, sampleRate, options) {
  const samples = decode(input);
  const context = new OfflineAudioContext(1, samples.length, sampleRate);
  const enhancer = await liteRtse.createEnhancer(context, options);
  const buffer = new AudioBuffer({ length: samples.length, sampleRate: context.sampleRate });
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(enhancer).connect(context.destination);
  source.start();
  return encode((await context.startRendering()).getChannelData(0));
}

/** Both sides of the node, sample by sample, while the microphone plays for some seconds. */
async function microphone(seconds, sampleRate) {
  const context = new AudioContext({ sampleRate });
  await context.suspend(); // node and recorder then begin with the same quantum
  const enhancer = await liteRtse.createEnhancer(context);
  await context.audioWorklet.addModule("/tests/recorder.js");
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfInputs: 2, processorOptions: { seconds } });
  const recorded = new Promise((resolve) => (recorder.port.onmessage = ({ data }) => resolve(data)));
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const mediaStream = await navigator.mediaDevices.getUserMedia({ audio });
  const source = new MediaStreamAudioSourceNode(context, { mediaStream });
  source.connect(recorder, 0, 0);
  source.connect(enhancer).connect(recorder, 0, 1);
  recorder.connect(context.destination);
  await context.resume();
  const [input, output] = await recorded;
  const statistics = await enhancer.statistics();
  const { underrunEvents = null } = context.playbackStats ?? {};
  enhancer.close();
  mediaStream.getTracks().forEach((track) => track.stop());
  await context.close();
  return { input: encode(input), output: encode(output), statistics, underruns: underrunEvents };
}

/** The message of the error that the function throws. */
async function failure(run) {
  try {
    await run();
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
  return "no error";
}

window.lab = { engine, liteRtse, decode, encode, offline, microphone, failure };
