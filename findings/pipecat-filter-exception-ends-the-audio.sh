#!/usr/bin/env bash
# One exception in an audio filter of Pipecat ends the sound of the whole call, and the pipeline runs on.
#
# One would guess: a filter that fails on one chunk costs that chunk, or the pipeline gets an error frame. A failing
# process_frame of a processor does give an ErrorFrame, and the next frame is processed.
# What happens: the exception ends the task that reads the audio queue, and nothing starts it again. All later chunks
# are lost. A line is logged. No ErrorFrame comes, in neither direction, so the agent waits for a caller whom it can't
# hear. A filter for Pipecat must therefore never raise an exception, whatever bytes it gets.
#
# Versions: pipecat-ai 1.14.0. Date: 2026-11-28.
# Output seen:
#   a filter that never fails: 10 of 10 chunks, 0 error frames
#   a filter that fails on the third chunk: 2 of 10 chunks, 0 error frames, logged: ERROR
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pipecat-ai==1.14.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import asyncio
import sys

from loguru import logger
from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.frames.frames import ErrorFrame, FilterControlFrame, InputAudioRawFrame, StartFrame
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams

CHUNKS = 10
logged: list[str] = []
logger.remove()
logger.add(lambda message: logged.append(message.record["level"].name), level="ERROR")


class Filter(BaseAudioFilter):
    """A filter that changes nothing and fails on one chunk. 0 is none."""

    def __init__(self, failing: int) -> None:
        self.failing, self.chunks = failing, 0

    async def start(self, sample_rate: int) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def process_frame(self, frame: FilterControlFrame) -> None:
        pass

    async def filter(self, audio: bytes) -> bytes:
        self.chunks += 1
        if self.chunks == self.failing:
            raise ValueError("this chunk")
        return audio


class Microphone(BaseInputTransport):
    """An input transport whose audio comes from the test."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)


def heard(failing: int) -> tuple[int, int]:
    """Give the numbers of chunks and of error frames that leave the transport."""
    params = TransportParams(audio_in_enabled=True, audio_in_sample_rate=16000, audio_in_filter=Filter(failing))
    chunks = [InputAudioRawFrame(bytes(640), 16000, 1) for _ in range(CHUNKS)]
    down, up = asyncio.run(run_test(Microphone(params), frames_to_send=[*chunks, SleepFrame(2.0)], start_timeout=60))
    audio = sum(isinstance(frame, InputAudioRawFrame) for frame in down)
    return audio, sum(isinstance(frame, ErrorFrame) for frame in [*down, *up])


fine = heard(0)
print(f"a filter that never fails: {fine[0]} of {CHUNKS} chunks, {fine[1]} error frames")
failed = heard(3)
print(
    f"a filter that fails on the third chunk: {failed[0]} of {CHUNKS} chunks, {failed[1]} error frames, "
    f"logged: {', '.join(logged)}"
)
if (fine, failed) != ((CHUNKS, 0), (2, 0)):
    sys.exit("changed: later chunks arrive, or there is an error frame")
PYTHON
