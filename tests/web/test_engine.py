"""The engine as WebAssembly in Node.js: its samples are the native engine's, and bad input is an error in words."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from benchmarks.chromium import PACKAGE, ROOT
from lite_rtse_ext import Streamer

from .conftest import RATE, Samples, difference, native

PRETRAINED = ROOT / "lite_rtse_ext" / "models" / "weights" / "lite-rtse.safetensors"
HERE = Path(__file__).parent
DIST = PACKAGE / "dist"
MOST_BYTES = 200_000


def node(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["node", *arguments], input=given, capture_output=True, check=True, cwd=HERE)


def enhance(samples: Samples, lengths: str, settings: dict[str, Any]) -> tuple[Samples, dict[str, Any]]:
    done = node("enhance.js", lengths, json.dumps(settings), given=samples.tobytes())
    return np.frombuffer(done.stdout, np.float32), json.loads(done.stderr)


def failure(script: str) -> str:
    """The message of the error that the script throws; `Engine`, `module` and `weights` are defined."""
    prelude = """
        import { readFileSync } from "node:fs";
        import { Engine, checkWasm } from "../../packages/web/src/engine.js";
        const wasm = readFileSync("../../packages/web/dist/lite_rtse.wasm");
        const module = new WebAssembly.Module(wasm);
        const weights = readFileSync("../../packages/web/dist/lite-rtse.int16.safetensors");
    """
    run = f"{prelude} try {{ {script}; console.log('no error') }} catch (error) {{ console.log(error.message) }}"
    return node("--input-type=module", "--eval", run).stdout.decode().strip()


@pytest.mark.parametrize("lengths", ["128", "1", "160", "256", "441,1,0,733", "20000"])
def test_equals_native(noisy: Samples, lengths: str) -> None:
    part = noisy[: RATE // 2] if lengths == "1" else noisy
    output, told = enhance(part, lengths, {})
    assert difference(output, native(part)) <= 1e-4
    assert told == {"delay": 512, "faults": {"samples": 0, "frames": 0}}


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_equals_native_at_other_rates(noisy: Samples, rate: int) -> None:
    output, told = enhance(noisy, "128", {"sampleRate": rate})
    assert difference(output, native(noisy, rate=rate)) <= 1e-4
    assert told["delay"] == Streamer.from_pretrained(sample_rate=rate).latency_samples


@pytest.mark.parametrize("limit", [0, 6, 24.5])
def test_attenuation_limit(noisy: Samples, limit: float) -> None:
    output, _ = enhance(noisy, "128", {"attenuationLimit": limit})
    assert difference(output, native(noisy, limit)) <= 1e-4


@pytest.mark.parametrize("extra", [0, 6, 24.5])
def test_extra_reduction(noisy: Samples, extra: float) -> None:
    output, _ = enhance(noisy, "128", {"extraReduction": extra, "attenuationLimit": 40})
    assert difference(output, native(noisy, 40, extra=extra)) <= 1e-4
    assert (difference(output, native(noisy, 40)) <= 1e-4) == (extra == 0)


def test_weights_that_do_not_state_their_minimum_gain(tmp_path: Path) -> None:
    save_file(load_file(PRETRAINED), tmp_path / "weights")
    make = f"const engine = new Engine(module, readFileSync({str(tmp_path / 'weights')!r}));"
    known = "if (!new Engine(module, weights).hasMinGain) throw new Error('of the package: unknown');"
    unknown = "if (engine.hasMinGain) throw new Error('known');"
    assert failure(f"{known} {make} {unknown} engine.setExtraReduction(0)") == "no error"
    said = failure(f"{make} engine.setExtraReduction(6)")
    assert said == "extraReduction: expected 0 for weights that do not state their min_gain, got 6"


def test_bypass_is_the_delayed_input(noisy: Samples) -> None:
    output, _ = enhance(noisy, "128", {"bypass": True})
    assert difference(output[512:], noisy[:-512]) <= 1e-5
    assert np.abs(output[:512]).max() <= 1e-6


def test_samples_that_are_not_finite_are_counted(noisy: Samples) -> None:
    damaged, repaired = noisy.copy(), noisy.copy()
    damaged[[100, 5000]], repaired[[100, 5000]] = [np.nan, np.inf], 0
    output, told = enhance(damaged, "128", {})
    assert difference(output, native(repaired)) <= 1e-4
    assert told["faults"] == {"samples": 2, "frames": 0}


def test_size() -> None:
    assert (DIST / "lite_rtse.wasm").stat().st_size <= MOST_BYTES


def test_module_imports_nothing() -> None:
    script = "process.stdout.write(JSON.stringify(WebAssembly.Module.imports(module)))"
    assert failure(script).startswith("[]")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("new Engine(module, weights.subarray(0, 1e6))", "weights: expected a file of Lite-RTSE weights, got: damaged"),
        ("new Engine(module, weights.subarray(0, 9))", "weights: expected a file of Lite-RTSE weights, got: damaged"),
        ("new Engine(module, new Uint8Array(0))", "weights: expected a file of Lite-RTSE weights, got: not a safe"),
        ("new Engine(module, wasm)", "weights: expected a file of Lite-RTSE weights, got: not a safetensors file"),
        ("checkWasm(wasm.subarray(0, 1e5))", "wasm: expected the file lite_rtse.wasm, got 100000 other or damaged"),
        ("checkWasm(weights)", "wasm: expected the file lite_rtse.wasm, got"),
        ("WebAssembly.validate = () => false; checkWasm(wasm)", "WebAssembly: expected SIMD"),
        ("new Engine(module, weights, 500)", "sampleRate: expected a whole number of Hz from 1000 to 1000000, got 500"),
        ("new Engine(module, weights, 44100.5)", "sampleRate: expected a whole number of Hz from 1000 to 1000000, got"),
        ("new Engine(module, weights, NaN)", "sampleRate: expected a whole number of Hz from 1000 to 1000000, got NaN"),
        ("new Engine(module, weights).setAttenuationLimit(-1)", "attenuationLimit: expected a number of dB from 0"),
        ("new Engine(module, weights).setAttenuationLimit(NaN)", "attenuationLimit: expected a number of dB from 0"),
        ("new Engine(module, weights).setExtraReduction(-1)", "extraReduction: expected a number of dB from 0"),
        ("new Engine(module, weights).setExtraReduction(NaN)", "extraReduction: expected a number of dB from 0"),
        ("new Engine(module, weights).setExtraReduction('6')", "extraReduction: expected a number of dB from 0"),
        ("new Engine(module, weights).setExtraReduction(null)", "extraReduction: expected a number of dB from 0"),
        ("new Engine(module, weights).process(new Float32Array(3), new Float32Array(2))", "output: expected 3 samples"),
    ],
)
def test_errors(script: str, message: str) -> None:
    assert failure(script).startswith(message)


@pytest.mark.parametrize(("value", "text"), [(1.5, "1.500000"), (-0.25, "-0.250000"), (0, "0.000000")])
def test_weights_with_another_configuration(tmp_path: Path, value: float, text: str) -> None:
    config = {"config": json.dumps({"compression": value, "mask_branch": False})}
    arrays = load_file(PRETRAINED)
    save_file(arrays, tmp_path / "weights", config)
    said = failure(f"new Engine(module, readFileSync({str(tmp_path / 'weights')!r}))")
    assert said.endswith(f"compression must be above 0 and at most 1, but is {text}")


def test_process_allocates_nothing() -> None:
    script = """
        const engine = new Engine(module, weights), block = new Float32Array(128);
        for (let i = 0; i < 1000; ++i) engine.process(block, block);
        const before = process.memoryUsage();
        for (let i = 0; i < 4000; ++i) engine.process(block, block);
        const after = process.memoryUsage();
        if (after.arrayBuffers > before.arrayBuffers) throw new Error("the memory grew");
    """
    assert failure(script) == "no error"
