"""The integrations work where PyTorch can't be imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import asyncio, sys
sys.modules["torch"] = None  # an import of it fails from here on
from lite_rtse_ext.integrations.pcm import PcmStream, packaged_network
assert len(PcmStream(packaged_network(), 48_000).feed(bytes(9600))) == 9600
"""
PIPECAT = """
from lite_rtse_ext.integrations.pipecat import LiteRTSEFilter
async def main():
    audio_filter = LiteRTSEFilter()
    await audio_filter.start(16_000)
    assert len(await audio_filter.filter(bytes(640))) == 640
asyncio.run(main())
"""
LIVEKIT = """
from livekit import rtc
from lite_rtse_ext.integrations.livekit import LiteRTSEProcessor
assert LiteRTSEProcessor()._process(rtc.AudioFrame(bytes(320), 16_000, 1, 160)).samples_per_channel == 160
"""
SERVER = """
from websockets.asyncio.client import connect
from lite_rtse_ext.integrations.server import serving
async def main():
    async with serving(packaged_network()) as server, connect(f"ws://127.0.0.1:{server.port}/") as call:
        await call.recv()
        await call.send(bytes(640))
        assert len(await call.recv()) == 640
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("package", "script"),
    [("numpy", ""), ("pipecat", PIPECAT), ("livekit.rtc", LIVEKIT), ("websockets", SERVER)],
    ids=["pcm", "pipecat", "livekit", "server"],
)
def test_integration_works_without_torch(package: str, script: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed; `make agents` runs this test")
    done = subprocess.run([sys.executable, "-c", WITHOUT + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
