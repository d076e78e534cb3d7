"""The web package's files on a port of this machine, and Chromium with a microphone that is a file."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "packages" / "web"
# What a page needs for a clock of five microseconds.
HEADERS = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm"}
FOLDERS = {
    "tests": ROOT / "tests" / "web",
    "benchmarks": ROOT / "benchmarks",
    "npm": ROOT / "build" / "npm" / "node_modules",
}


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = TYPES

    def translate_path(self, path: str) -> str:
        folder, _, rest = path.lstrip("/").partition("?")[0].partition("/")
        if folder not in FOLDERS:
            return super().translate_path(path)
        self.directory, kept = str(FOLDERS[folder]), self.directory
        try:
            return super().translate_path(f"/{rest}")
        finally:
            self.directory = kept

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[str]:
    """Serves packages/web, and `FOLDERS` below their names. Gives the address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(PACKAGE)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def chromium(microphone: Path) -> Iterator[Browser]:
    """Debian's Chromium without a window. Its microphone plays the file again and again."""
    path = shutil.which("chromium")
    if path is None:
        raise FileNotFoundError("chromium: expected the program on the path (Debian: apt install chromium)")
    arguments = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments, chromium_sandbox=False)
        try:
            yield browser
        finally:
            browser.close()
