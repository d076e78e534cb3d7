"""The node in Node.js without a browser: what is no setting is an error, and so is a page without AudioWorklets."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from benchmarks.chromium import PACKAGE

NODE = """
    globalThis.AudioWorkletNode = class { port = { sent: [], postMessage(message) { this.sent.push(message); } }; };
    const { EnhancerNode } = await import("INDEX");
    const told = { attenuationLimit: 12, extraReduction: 0, bypass: false };
    const node = new EnhancerNode(null, null, null, told);
    let said = "nothing";
    try { node.NAME = VALUE; } catch (error) { said = String(error); }
    const kept = Object.keys(told).every((name) => node[name] === told[name]) && node.port.sent.length === 0;
    console.log(JSON.stringify([said, kept]));
"""

INSECURE = """
    const { createEnhancer } = await import("INDEX");
    let said = "nothing";
    try { await createEnhancer({}); } catch (error) { said = String(error); }
    console.log(JSON.stringify(said));
"""

UNREACHABLE = """
    const { createEnhancer } = await import("INDEX");
    const addModule = async () => { if (MODULE) throw new Error("Unable to load a worklet's module."); };
    const places = { wasm: MODULE ? new Uint8Array() : "http://127.0.0.1:9/none.wasm", weights: new Uint8Array() };
    let said = "nothing";
    try { await createEnhancer({ audioWorklet: { addModule } }, places); } catch (error) { said = String(error); }
    console.log(JSON.stringify(said));
"""


def answer(script: str) -> Any:
    """What a script prints that imports the package's module INDEX."""
    index = (PACKAGE / "src" / "index.js").as_uri()
    command = ["node", "--input-type=module", "--eval", script.replace("INDEX", index)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.parametrize("value", ["undefined", "null", "'6'", "[]", "NaN", "-1", "6n"])
@pytest.mark.parametrize("name", ["attenuationLimit", "extraReduction", "bypass"])
def test_what_is_no_setting_is_refused(name: str, value: str) -> None:
    said, kept = answer(NODE.replace("NAME", name).replace("VALUE", value))
    expected = "true or false" if name == "bypass" else "a number of dB from 0 to Infinity"
    assert f"{name}: expected {expected}, got " in said
    assert kept


def test_a_page_without_worklets_learns_of_it() -> None:
    """The class ``AudioWorkletNode`` is missing, too: by the standard, only secure pages have it."""
    assert "expected a page from https or localhost, got one without AudioWorklets" in answer(INSECURE)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("false", "wasm: expected a file at http://127.0.0.1:9/none.wasm, got none: "),
        ("true", "/src/processor.js, got none that can be loaded: Unable to load a worklet's module."),
    ],
)
def test_a_file_that_cannot_be_fetched_is_named(module: str, words: str) -> None:
    """The words of browsers, such as "Failed to fetch", name none."""
    assert words in answer(UNREACHABLE.replace("MODULE", module))
