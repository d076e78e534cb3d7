"""The settings of a node, in Node.js without a browser: what is no setting is an error, and changes nothing."""

from __future__ import annotations

import json
import subprocess

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


@pytest.mark.parametrize("value", ["undefined", "null", "'6'", "[]", "NaN", "-1", "6n"])
@pytest.mark.parametrize("name", ["attenuationLimit", "extraReduction", "bypass"])
def test_what_is_no_setting_is_refused(name: str, value: str) -> None:
    index = (PACKAGE / "src" / "index.js").as_uri()
    script = NODE.replace("INDEX", index).replace("NAME", name).replace("VALUE", value)
    command = ["node", "--input-type=module", "--eval", script]
    said, kept = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    expected = "true or false" if name == "bypass" else "a number of dB from 0 to Infinity"
    assert f"{name}: expected {expected}, got " in said
    assert kept
