"""The demo page in Chromium: a microphone, a file, the controls, the pictures, and nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

COLORS = """id => {
    const canvas = document.getElementById(id);
    // A copy, because Chromium warns of repeated reads of a canvas that is drawn for the screen.
    const copy = new OffscreenCanvas(40, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 40 - canvas.width, 0);
    const { data } = copy.getImageData(0, 0, 40, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
}"""


@pytest.fixture
def demo(browser: Browser, address: str) -> Iterator[Page]:
    """The page. Whatever it writes to the console, such as a breach of its policy, is an error."""
    context = browser.new_context(permissions=["microphone"])
    page = context.new_page()
    console: list[str] = []
    foreign: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            foreign.append(request.url)

    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.on("request", note)
    page.goto(f"{address}/demo/index.html")
    yield page
    context.close()
    assert console == []
    assert foreign == []


def wait_for_picture(page: Page, canvas: str) -> None:
    page.wait_for_function(f"id => ({COLORS})(id) > 30", arg=canvas)


def test_microphone(demo: Page) -> None:
    demo.get_by_role("button", name="Microphone").click()
    expect(demo.locator("#status")).to_have_text(
        re.compile(r"The microphone is on\. The output is 4[01] ms late\."), timeout=20000
    )
    wait_for_picture(demo, "before")
    wait_for_picture(demo, "after")
    demo.get_by_label("Largest attenuation").fill("12")
    expect(demo.locator("#limit-text")).to_have_text("12 dB")
    demo.get_by_label("Bypass").check()
    demo.get_by_role("button", name="Stop").click()
    expect(demo.locator("#status")).to_have_text("Stopped.")


# Keeps the streams of the microphone that the page opens.
OPENED = """() => {
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    window.opened = [];
    navigator.mediaDevices.getUserMedia = async (given) => {
        const stream = await open(given);
        window.opened.push(stream);
        return stream;
    };
}"""


def wait_for_silence(page: Page, count: int) -> None:
    """Wait until the page has opened the microphone so many times, and has closed it each time."""
    ended = "opened.every((stream) => stream.getTracks().every((track) => track.readyState === 'ended'))"
    page.wait_for_function(f"opened.length === {count} && {ended}", timeout=5000)


def test_a_second_start_ends_the_first(demo: Page) -> None:
    demo.evaluate(OPENED)
    demo.get_by_role("button", name="Microphone").dblclick()
    expect(demo.locator("#status")).to_have_text(re.compile("The microphone is on"), timeout=20000)
    demo.get_by_role("button", name="Stop").click()
    wait_for_silence(demo, 2)


def test_an_error_closes_the_microphone(demo: Page) -> None:
    demo.evaluate(OPENED)
    demo.route("**/lite_rtse.wasm", lambda route: route.fulfill(body="no module"))
    demo.get_by_role("button", name="Microphone").click()
    expect(demo.locator("#status")).to_have_text(re.compile("wasm: expected the file lite_rtse.wasm"), timeout=20000)
    wait_for_silence(demo, 1)


def test_file(demo: Page, recording: Path) -> None:
    demo.locator("#file").set_input_files(recording)
    status = demo.locator("#status")
    expect(status).to_have_text(re.compile(r"noisy\.wav is playing\. The output is 4[01] ms late\."), timeout=20000)
    wait_for_picture(demo, "after")
    expect(status).to_have_text("noisy.wav has ended.", timeout=20000)


def test_file_that_is_no_sound(demo: Page, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    demo.locator("#file").set_input_files(tmp_path / "text.wav")
    message = "text.wav: expected a sound file that this browser can decode"
    expect(demo.locator("#status")).to_have_text(message, timeout=20000)
