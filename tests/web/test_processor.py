"""The processor of the AudioWorklet, in Node.js without a browser: one that can't begin ends."""

from __future__ import annotations

import json
import subprocess

from benchmarks.chromium import PACKAGE

NODE = """
    const said = [];
    globalThis.sampleRate = 48000;
    globalThis.AudioWorkletProcessor = class { port = { postMessage(message) { said.push(message); } }; };
    let Processor;
    globalThis.registerProcessor = (name, type) => { Processor = type; };
    await import("PROCESSOR");
    const empty = new Uint8Array();
    const processor = new Processor({ processorOptions: { wasm: empty, weights: empty, settings: {} } });
    const goesOn = processor.process([[]], [[new Float32Array(128)]]);
    console.log(JSON.stringify([said, goesOn]));
"""


def test_a_processor_without_an_engine_ends() -> None:
    script = NODE.replace("PROCESSOR", (PACKAGE / "src" / "processor.js").as_uri())
    command = ["node", "--input-type=module", "--eval", script]
    said, goes_on = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert len(said) == 1
    assert "WebAssembly.Module" in said[0]["error"]
    assert goes_on is False
