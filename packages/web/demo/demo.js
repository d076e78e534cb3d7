// The demo: a microphone or a file through the node, with spectrograms of both sides.
import { createEnhancer } from "../src/index.js";
import { Spectrogram } from "./spectrogram.js";

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);
const NO_LIMIT = 61; // the slider's last place

/** @param {string} text */
const say = (text) => (element("status").textContent = text);

/** What runs now. @type {{ stop: () => void, enhancer: import("../src/index.js").EnhancerNode, gain: GainNode } | null} */
let run = null;
let starts = 0;

function limit() {
  const db = Number(element("limit").value);
  return db === NO_LIMIT ? Infinity : db;
}

function stop() {
  run?.stop();
  run = null;
  element("stop").disabled = true;
}

/**
 * @param {(context: AudioContext) => Promise<{ source: AudioNode, begin?: () => void, end?: () => void }>} open
 * @param {string} text
 */
async function start(open, text) {
  stop();
  const number = ++starts;
  say("Loading …");
  const context = new AudioContext();
  /** @type {(() => void) | undefined} */
  let end;
  const close = () => {
    end?.();
    void context.close();
  };
  try {
    const opened = await open(context);
    const { source, begin } = opened;
    end = opened.end;
    const enhancer = await createEnhancer(context, {
      attenuationLimit: limit(),
      bypass: element("bypass").checked,
    });
    if (number !== starts) return close(); // another start came meanwhile
    const gain = new GainNode(context, { gain: element("listen").checked ? 1 : 0 });
    source.connect(enhancer).connect(gain).connect(context.destination);
    const pictures = [new Spectrogram(element("before"), source), new Spectrogram(element("after"), enhancer)];
    const draw = () => {
      pictures.forEach((picture) => picture.draw());
      if (context.state !== "closed") requestAnimationFrame(draw);
    };
    run = {
      enhancer,
      gain,
      stop() {
        enhancer.close();
        close();
      },
    };
    await context.resume();
    begin?.();
    draw();
    element("stop").disabled = false;
    say(`${text} The output is ${Math.round(1000 * enhancer.delay)} ms late.`);
  } catch (error) {
    close();
    if (number === starts) say(error instanceof Error ? error.message : String(error));
  }
}

function useMicrophone() {
  return start(async (context) => {
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const end = () => stream.getTracks().forEach((track) => track.stop());
    return { source: new MediaStreamAudioSourceNode(context, { mediaStream: stream }), end };
  }, "The microphone is on.");
}

/** @param {File} file */
function useFile(file) {
  element("listen").checked = true;
  return start(async (context) => {
    const buffer = await context.decodeAudioData(await file.arrayBuffer()).catch(() => {
      throw new Error(`${file.name}: expected a sound file that this browser can decode`);
    });
    const source = new AudioBufferSourceNode(context, { buffer });
    source.onended = () => say(`${file.name} has ended.`);
    return { source, begin: () => source.start(), end: () => (source.onended = null) };
  }, `${file.name} is playing.`);
}

element("microphone").onclick = useMicrophone;
element("stop").onclick = () => {
  stop();
  say("Stopped.");
};
element("file").onchange = () => {
  const [file] = element("file").files;
  if (file) void useFile(file);
  element("file").value = "";
};
element("limit").oninput = () => {
  element("limit-text").value = limit() === Infinity ? "no limit" : `${limit()} dB`;
  if (run) run.enhancer.attenuationLimit = limit();
};
element("bypass").onchange = () => {
  if (run) run.enhancer.bypass = element("bypass").checked;
};
element("listen").onchange = () => {
  if (run) run.gain.gain.value = element("listen").checked ? 1 : 0;
};

document.ondragover = (event) => {
  event.preventDefault();
  document.body.classList.add("over");
};
document.ondragleave = () => document.body.classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const file = event.dataTransfer?.files[0];
  if (file) void useFile(file);
};
