"""The AudioWorklet in Chromium: its samples are the native engine's, from files and from a microphone."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from .conftest import RATE, Samples, difference, native

SECONDS = 6  # of the microphone; benchmarks/web.py listens for a minute


def encoded(samples: Samples) -> str:
    return base64.b64encode(samples.tobytes()).decode()


def decoded(text: str) -> Samples:
    return np.frombuffer(base64.b64decode(text), np.float32)


def offline(page: Page, samples: Samples, options: dict[str, Any], rate: int = RATE) -> Samples:
    return decoded(page.evaluate("given => lab.offline(...given)", [encoded(samples), rate, options]))


def failure(page: Page, script: str) -> str:
    message: str = page.evaluate(f"lab.failure(async () => {{ {script} }})")
    return message


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_offline_equals_native(page: Page, noisy: Samples, rate: int) -> None:
    assert difference(offline(page, noisy, {}, rate), native(noisy, rate=rate)) <= 1e-4


def test_settings_hold_from_the_first_sample(page: Page, noisy: Samples) -> None:
    limited = offline(page, noisy, {"attenuationLimit": 6})
    assert difference(limited, native(noisy, 6)) <= 1e-4
    stronger = offline(page, noisy, {"extraReduction": 6})
    assert difference(stronger, native(noisy, extra=6)) <= 1e-4
    bypassed = offline(page, noisy, {"bypass": True})
    assert difference(bypassed[512:], noisy[:-512]) <= 1e-5


def below_2_khz(samples: Samples, rate: int) -> Samples:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / rate) > 2000] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def best_match(part: Samples, whole: Samples) -> float:
    """The largest correlation of the part with a stretch of the signal, which repeats."""
    size = len(whole)
    spectra = np.fft.rfft(whole) * np.conj(np.fft.rfft(part, size))
    lag = int(np.argmax(np.fft.irfft(spectra, size)))
    stretch = np.concatenate([whole, whole])[lag : lag + len(part)]
    return float(np.corrcoef(stretch, part)[0, 1])


def looks_like(heard: Samples, file: Samples) -> bool:
    """Most quarters of a second occur in the file: a busy machine's fake microphone skips a little at times."""
    quarters = [heard[start : start + RATE // 4] for start in range(0, len(heard) - RATE // 4, RATE // 4)]
    return float(np.median([best_match(quarter, file) for quarter in quarters])) > 0.9


@pytest.mark.parametrize("rate", [16000, 48000])
def test_microphone_equals_native(page: Page, noisy: Samples, rate: int) -> None:
    heard = page.evaluate("given => lab.microphone(...given)", [SECONDS, rate])
    given, output = decoded(heard["input"]), decoded(heard["output"])
    assert looks_like(below_2_khz(given, rate)[rate :: rate // RATE], below_2_khz(noisy, RATE))
    assert difference(output, native(given, rate=rate)) <= 1e-4
    assert heard["statistics"]["faults"] == {"samples": 0, "frames": 0}
    assert heard["statistics"]["quanta"] >= len(given) / 128


def test_delay_and_settings(page: Page) -> None:
    script = """async () => {
        const context = new OfflineAudioContext(1, 128, 16000);
        const node = await lab.liteRtse.createEnhancer(context, { attenuationLimit: 12, extraReduction: 3 });
        const before = node.extraReduction;
        node.bypass = true;
        node.extraReduction = 6;
        return [node.delay, node.attenuationLimit, before, node.extraReduction, node.bypass];
    }"""
    assert page.evaluate(script) == [0.032, 12, 3, 6, True]


def test_extra_reduction_during_a_call(page: Page, noisy: Samples) -> None:
    """It is set while the context is suspended in the middle. Two frames later nothing of the time before is left."""
    script = """async ([samples, at]) => {
        const input = lab.decode(samples);
        const context = new OfflineAudioContext(1, input.length, 16000);
        const node = await lab.liteRtse.createEnhancer(context);
        const buffer = new AudioBuffer({ length: input.length, sampleRate: 16000 });
        buffer.copyToChannel(input, 0);
        const source = new AudioBufferSourceNode(context, { buffer });
        source.connect(node).connect(context.destination);
        source.start();
        void context.suspend(at / 16000).then(async () => {
            node.extraReduction = 12;
            await node.statistics(); // an answer to this comes after the setting
            void context.resume();
        });
        return lab.encode((await context.startRendering()).getChannelData(0));
    }"""
    at = 2 * RATE
    output = decoded(page.evaluate(script, [encoded(noisy), at]))
    assert difference(output[:at], native(noisy)[:at]) <= 1e-4
    late = at + 512 + 512
    assert difference(output[late:], native(noisy, extra=12)[late:]) <= 1e-4
    assert difference(output[late:], native(noisy)[late:]) > 1e-2


def test_a_closed_node_computes_no_more(page: Page) -> None:
    """A source that remains connected keeps the node alive."""
    script = """async () => {
        const context = new OfflineAudioContext(1, 16000, 16000);
        const node = await lab.liteRtse.createEnhancer(context);
        const source = new ConstantSourceNode(context);
        source.connect(node).connect(context.destination);
        source.start();
        const found = [];
        const at = async (second, act) => {
            await context.suspend(second);
            act();
            found.push(await node.statistics());
            void context.resume();
        };
        const ends = Promise.all([at(0.25, () => node.close()), at(0.75, () => {})]);
        await context.startRendering();
        await ends;
        return found;
    }"""
    at_its_end, later = page.evaluate(script)
    assert at_its_end["quanta"] > 0
    assert later == at_its_end


CREATE = "await lab.liteRtse.createEnhancer(new OfflineAudioContext(1, 128, 16000), {options})"
WEIGHTS = "await (await fetch('/dist/lite-rtse.int16.safetensors')).arrayBuffer()"
# The metadata's entry gets another name.
UNSTATED = f"""(bytes => {{
    const at = String.fromCharCode(...bytes.subarray(0, 4000)).indexOf("min_gain");
    bytes[at] = 77;
    return bytes;
}})(new Uint8Array({WEIGHTS}))"""


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (CREATE.format(options="{ attenuationLimit: -3 }"), "RangeError: attenuationLimit: expected a number of dB"),
        (CREATE.format(options="{ attenuationLimit: '6' }"), "RangeError: attenuationLimit: expected a number of dB"),
        (CREATE.format(options="{ extraReduction: NaN }"), "RangeError: extraReduction: expected a number of dB"),
        (CREATE.format(options="{ bypass: 1 }"), "TypeError: bypass: expected true or false, got 1"),
        (CREATE.format(options="{ weights: new Uint8Array(0) }"), "Error: weights: expected a file of Lite-RTSE weig"),
        (CREATE.format(options="{ wasm: new Uint8Array(8) }"), "Error: wasm: expected the file lite_rtse.wasm, got 8"),
        (
            f"const weights = ({WEIGHTS}).slice(0, 2e6); " + CREATE.format(options="{ weights }"),
            "Error: weights: expected a file of Lite-RTSE weights, got: damaged safetensors file",
        ),
        (
            f"const weights = {UNSTATED}; " + CREATE.format(options="{ weights, extraReduction: 6 }"),
            "Error: extraReduction: expected 0 for weights that do not state their min_gain, got 6",
        ),
        (
            f"const weights = {UNSTATED}; const node = {CREATE.format(options='{ weights }')}; node.extraReduction = 6",
            "Error: extraReduction: expected 0 for weights that do not state their min_gain, got 6",
        ),
        ("WebAssembly.validate = () => false; " + CREATE.format(options="{}"), "Error: WebAssembly: expected SIMD"),
    ],
)
def test_errors(page: Page, script: str, message: str) -> None:
    assert failure(page, script).startswith(message)
