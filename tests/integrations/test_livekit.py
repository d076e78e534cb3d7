"""LiveKit's own audio streams and frames with the processor. ``make agents`` installs LiveKit and runs these tests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

pytest.importorskip("livekit.rtc", reason="LiveKit is not installed; `make agents` runs these tests")

from livekit import rtc

from lite_rtse_ext.integrations.livekit import LiteRTSEProcessor
from lite_rtse_ext.integrations.pcm import packaged_network, samples_of
from lite_rtse_ext.stream import Network

from .recordings import expected, interleaved, recording, rms


def frames_of(pcm: bytes, sample_rate: int = 16_000, channels: int = 1, ms: float = 10) -> list[rtc.AudioFrame]:
    size = 2 * channels * round(sample_rate * ms / 1000)
    pieces = [pcm[begin : begin + size] for begin in range(0, len(pcm), size)]
    return [rtc.AudioFrame(piece, sample_rate, channels, len(piece) // (2 * channels)) for piece in pieces]


def processed(processor: LiteRTSEProcessor, frames: list[rtc.AudioFrame]) -> bytes:
    return b"".join(bytes(processor._process(frame).data.cast("B")) for frame in frames)


class Recorder(LiteRTSEProcessor):
    """A processor that keeps the signals before and after it.

    LiveKit's source runs on a clock. On a busy machine it inserts silence, so a test can't know what a stream gets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before = self.after = b""

    def _process(self, frame: rtc.AudioFrame) -> rtc.AudioFrame:
        result = super()._process(frame)
        self.before += frame.data.tobytes()
        self.after += result.data.tobytes()
        return result


class Call:
    """A local track of LiveKit's, and an audio stream of it with the processor."""

    def __init__(self, processor: Recorder) -> None:
        self.processor = processor
        self._source = rtc.AudioSource(16_000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        self._stream = rtc.AudioStream(track, sample_rate=16_000, num_channels=1, noise_cancellation=processor)

    async def close(self) -> None:
        await self._stream.aclose()
        await self._source.aclose()

    async def through(self, pcm: bytes) -> bytes:
        """Speak this. Return as much of the stream's sound."""
        frames = frames_of(pcm)
        self.processor.before = self.processor.after = b""
        speaking = asyncio.create_task(self._speak(frames))
        got = [await asyncio.wait_for(anext(self._stream), 20) for _ in frames]
        await speaking
        return b"".join(event.frame.data.tobytes() for event in got)

    async def _speak(self, frames: list[rtc.AudioFrame]) -> None:
        for frame in frames:
            await self._source.capture_frame(frame)


@asynccontextmanager
async def calling(processor: Recorder) -> AsyncIterator[Call]:
    call = Call(processor)
    try:
        yield call
    finally:
        await call.close()


def test_a_recording_through_an_audio_stream(caplog: pytest.LogCaptureFixture) -> None:
    """LiveKit logs a warning when a processor raises an exception, and continues without it. So none may be logged."""
    pcm, processor = recording(seconds=1.0), Recorder()

    async def scenario() -> bytes:
        async with calling(processor) as call:
            return await call.through(pcm)

    with caplog.at_level(logging.WARNING):
        got = asyncio.run(scenario())
    assert caplog.records == []
    assert rms(processor.before) > 0.1 * rms(pcm)
    assert processor.after == expected(processor.before)
    assert processor.after.startswith(got)
    assert len(got) == len(pcm)


def test_disabling_bypasses_and_enabling_begins_a_new_signal() -> None:
    pcm, processor = recording(seconds=0.3), Recorder()

    async def scenario() -> None:
        async with calling(processor) as call:
            await call.through(pcm)
            assert processor.after == expected(processor.before)
            processor.enabled = False
            assert not processor.enabled
            assert len(await call.through(pcm)) == len(pcm)
            assert processor.before == b""  # LiveKit itself leaves it out
            processor.enabled = True
            await call.through(pcm)
            assert processor.after == expected(processor.before) != b""

    asyncio.run(scenario())


def test_a_closed_processor_serves_another_stream() -> None:
    processor = Recorder()

    async def scenario() -> None:
        for _ in range(2):
            async with calling(processor) as call:
                await call.through(recording(seconds=0.3))
                assert processor.after == expected(processor.before) != b""
            assert processor.latency_ms is None  # its memory is free

    asyncio.run(scenario())


def test_a_disabled_processor_returns_the_frame() -> None:
    processor, (frame,) = LiteRTSEProcessor(), frames_of(recording(seconds=0.01))
    processor.enabled = False
    assert processor._process(frame) is frame


@pytest.mark.parametrize("ms", [1, 10, 16, 33, 500])
def test_frames_of_any_length(ms: float) -> None:
    pcm = recording(seconds=0.5)
    assert processed(LiteRTSEProcessor(), frames_of(pcm, ms=ms)) == expected(pcm)


def test_a_frame_keeps_its_form_and_user_data() -> None:
    samples = recording(seconds=0.01)
    longer = rtc.AudioFrame(samples + bytes(100), 16_000, 1, len(samples) // 2, userdata={"key": 1})
    result = LiteRTSEProcessor()._process(longer)
    assert (result.sample_rate, result.num_channels, result.samples_per_channel) == (16_000, 1, len(samples) // 2)
    assert result.userdata == {"key": 1}
    assert len(result.data) == len(samples) // 2


def test_changes_of_rate_and_channels_begin_new_signals() -> None:
    processor = LiteRTSEProcessor()
    for sample_rate in (16_000, 48_000, 24_000, 16_000):
        pcm = recording(sample_rate=sample_rate, seconds=0.3)
        assert processed(processor, frames_of(pcm, sample_rate)) == expected(pcm, sample_rate)
        assert processor.latency_ms is not None
        assert processor.latency_ms >= 32
    left, right = recording(0, seconds=0.3), recording(1, seconds=0.3)
    stereo = processed(processor, frames_of(interleaved(left, right), channels=2))
    assert stereo == interleaved(expected(left), expected(right))


def test_another_track_begins_a_new_signal() -> None:
    pcm, processor = recording(seconds=0.3), LiteRTSEProcessor()

    def on_track(sid: str) -> None:
        processor._on_stream_info_updated(room_name="room", participant_identity="caller", publication_sid=sid)

    on_track("one")
    first = processed(processor, frames_of(pcm))
    on_track("one")
    processor._on_credentials_updated(token="token", url="url")
    assert processed(processor, frames_of(pcm)) != first  # the same signal goes on
    on_track("two")
    assert processed(processor, frames_of(pcm)) == first


def test_settings() -> None:
    pcm = recording(seconds=0.3)
    assert processed(LiteRTSEProcessor(wet=0), frames_of(pcm)) == expected(pcm, wet=0.0)
    limited = LiteRTSEProcessor(attenuation_limit_db=6)
    assert processed(limited, frames_of(pcm)) == expected(pcm, attenuation_limit_db=6)
    stronger = LiteRTSEProcessor(extra_reduction_db=6)
    assert processed(stronger, frames_of(pcm)) == expected(pcm, extra_reduction_db=6)
    with pytest.raises(ValueError, match=r"^extra_reduction_db: expected 0 for weights that do not state .* got 6$"):
        LiteRTSEProcessor(network=Network(packaged_network()._weights), extra_reduction_db=6)
    with pytest.raises(ValueError, match=r"^wet: expected a share from 0 to 1, got 2$"):
        LiteRTSEProcessor(wet=2)
    with pytest.raises(TypeError, match=r"^enabled: expected True or False, got 'no'$"):
        limited.enabled = "no"  # type: ignore[assignment]


@pytest.mark.parametrize("sample_rate", [0, 999, 2_000_000])
def test_a_rate_that_is_not_supported_leaves_the_state_clean(sample_rate: int) -> None:
    processor, pcm = LiteRTSEProcessor(), recording(seconds=0.1)
    with pytest.raises(ValueError, match=r"^sample_rate: expected a whole number of Hz from 1000 to "):
        processor._process(rtc.AudioFrame(pcm, sample_rate, 1, 160))
    assert processed(processor, frames_of(pcm)) == expected(pcm)


def test_many_sessions_are_independent() -> None:
    processors = [LiteRTSEProcessor() for _ in range(6)]
    calls = [frames_of(recording(number, seconds=0.3)) for number in range(6)]
    got = [b""] * 6
    for frames in zip(*calls, strict=True):
        for number, frame in enumerate(frames):
            got[number] += processed(processors[number], [frame])
    assert got == [expected(recording(number, seconds=0.3)) for number in range(6)]
    assert np.std([np.std(samples_of(pcm)) for pcm in got]) > 0
