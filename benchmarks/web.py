"""The web package in Chromium: ``python -m benchmarks.web``, after ``make web-figures`` has set up what it needs.

Two measurements. Frames of the engine and of RNNoise, in turns, in one thread of one page. A minute of the microphone
through the AudioWorklet, whose output is compared with that of the native engine.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from playwright.sync_api import Page

from benchmarks.chromium import PACKAGE, chromium, serve
from benchmarks.harness import RESULTS
from lite_rtse_ext import Streamer
from lite_rtse_ext.benchmark.environment import environment
from lite_rtse_ext.benchmark.frames import speech_like
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

DEVICE_RATE = 48000
FRAME_MS = {"lite-rtse": 16.0, "rnnoise": 10.0}

TIME = """settings => new Promise((resolve, reject) => {
    const worker = new Worker("/benchmarks/web_worker.js", { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(settings);
})"""


def frames(page: Page, rounds: int, count: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a frame, and of a second of sound."""
    times = page.evaluate(TIME, {"rounds": rounds, "frames": count})
    result = {}
    for name, values in times.items():
        median, late = np.percentile(values, [50, 99])
        result[name] = {
            "frame_ms": FRAME_MS[name],
            "median_ms": round(float(median), 4),
            "p99_ms": round(float(late), 4),
            "median_ms_per_second": round(float(median) * 1000 / FRAME_MS[name], 2),
        }
    return result


def samples(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), np.float32)


def minute(page: Page, seconds: float, rate: int) -> dict[str, Any]:
    """What the microphone's sound became, and what Chromium tells of the playback."""
    heard = page.evaluate("given => lab.microphone(...given)", [seconds, rate])
    output = samples(heard["output"])
    streamer = Streamer.from_pretrained(precision="int16", compensate_delay=False, sample_rate=rate)
    expected = streamer.feed(samples(heard["input"]))
    return {
        "seconds": seconds,
        "sample_rate": rate,
        "difference": float(np.linalg.norm(output - expected) / np.linalg.norm(expected)),
        "late_quanta": heard["statistics"]["late"],
        "underruns": heard["underruns"],
    }


def report(result: dict[str, Any]) -> None:
    for name, times in result["frames"].items():
        print(f"{name:10} " + "  ".join(f"{key} {value}" for key, value in times.items()))
    print("microphone " + "  ".join(f"{key} {value}" for key, value in result["microphone"].items()))
    print("bytes      " + "  ".join(f"{key} {value}" for key, value in result["bytes"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--frames", type=int, default=400, help="frames of each candidate in a round")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the microphone")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "speech.wav"
        sf.write(recording, speech_like(1250), SAMPLE_RATE_HZ)
        with serve() as address, chromium(recording) as browser:
            page = browser.new_context(permissions=["microphone"]).new_page()
            page.goto(f"{address}/tests/page.html")
            result = {
                "question": "web",
                "environment": asdict(environment()),
                "chromium": browser.version,
                "load": os.getloadavg()[0],  # of the machine; above its cores, the late frames are those of others
                "settings": {"rounds": arguments.rounds, "frames": arguments.frames},
                "frames": frames(page, arguments.rounds, arguments.frames),
                "microphone": minute(page, arguments.seconds, DEVICE_RATE),
                "bytes": {file.name: file.stat().st_size for file in sorted((PACKAGE / "dist").iterdir())},
            }
    report(result)
    (arguments.results / "web.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
