"""A recording, what the native engine makes of it, and a page of Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from benchmarks.chromium import PACKAGE, chromium, serve
from lite_rtse_ext import Streamer

RATE = 16000
Samples = NDArray[np.float32]


def native(samples: Samples, limit: float | None = None, rate: int = RATE, extra: float = 0.0) -> Samples:
    """The native engine's output of a live stream, with the weights as 16-bit integers."""
    options = {"sample_rate": rate, "attenuation_limit_db": limit, "extra_reduction_db": extra}
    streamer = Streamer.from_pretrained(precision="int16", compensate_delay=False, **options)
    output: Samples = streamer.feed(samples)
    return output


def difference(output: Samples, expected: Samples) -> float:
    """The relative difference in the L2 norm."""
    assert output.shape == expected.shape
    return float(np.linalg.norm(output.astype(float) - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="session")
def noisy() -> Samples:
    """Four seconds of tones that come and go like syllables, in noise."""
    generator = np.random.default_rng(7)
    time = np.arange(4 * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * 140 * k * time + 3 * np.sin(5 * time)) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * time), 0, None) ** 0.5
    return (0.05 * tones * syllables + 0.02 * generator.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="session")
def recording(noisy: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "noisy.wav"
    sf.write(path, noisy, RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    assert (PACKAGE / "dist" / "lite_rtse.wasm").exists(), "the package is not built: make web"
    with serve() as address:
        yield address


@pytest.fixture(scope="session")
def browser(recording: Path) -> Iterator[Browser]:
    with chromium(recording) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The tests' page. Whatever it writes to the console is an error."""
    context = browser.new_context(permissions=["microphone"])
    page = context.new_page()
    console: list[str] = []
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto(f"{address}/tests/page.html")
    yield page
    context.close()
    assert console == []
