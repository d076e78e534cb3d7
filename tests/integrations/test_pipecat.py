"""Pipecat's own transports and pipelines with the filter. ``make agents`` installs Pipecat and runs these tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

pytest.importorskip("pipecat", reason="Pipecat is not installed; `make agents` runs these tests")

from pipecat.frames.frames import (
    ErrorFrame,
    FilterControlFrame,
    FilterEnableFrame,
    FilterUpdateSettingsFrame,
    Frame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from lite_rtse_ext.integrations.pcm import packaged_network
from lite_rtse_ext.integrations.pipecat import LiteRTSEFilter
from lite_rtse_ext.stream import Network

from .recordings import expected, interleaved, recording, rms


class Microphone(BaseInputTransport):
    """An input transport of Pipecat whose audio comes from the test."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)


class Loudspeaker(BaseOutputTransport):
    """An output transport of Pipecat that keeps what it is to play."""

    def __init__(self, params: TransportParams) -> None:
        super().__init__(params)
        self.played = b""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self.played += frame.audio
        return True


def chunks(pcm: bytes, size: int) -> list[bytes]:
    return [pcm[begin : begin + size] for begin in range(0, len(pcm), size)]


async def through(
    audio_filter: LiteRTSEFilter, frames: Sequence[Frame], sample_rate: int, channels: int = 1
) -> tuple[bytes, list[Frame]]:
    """The sound behind a microphone that gets these frames, and the frames that come back from it."""
    params = TransportParams(
        audio_in_enabled=True,
        audio_in_sample_rate=sample_rate,
        audio_in_channels=channels,
        audio_in_filter=audio_filter,
    )
    down, up = await run_test(Microphone(params), frames_to_send=[*frames, SleepFrame(1.0)], start_timeout=20)
    return b"".join(frame.audio for frame in down if isinstance(frame, InputAudioRawFrame)), list(up)


async def heard(audio_filter: LiteRTSEFilter, frames: Sequence[Frame], sample_rate: int, channels: int = 1) -> bytes:
    """What the pipeline behind a microphone receives of these frames."""
    return (await through(audio_filter, frames, sample_rate, channels))[0]


def audio(pcm: bytes, sample_rate: int = 16_000, channels: int = 1, ms: int = 20) -> list[Frame]:
    size = 2 * channels * sample_rate * ms // 1000
    return [InputAudioRawFrame(chunk, sample_rate, channels) for chunk in chunks(pcm, size)]


async def filtered(audio_filter: LiteRTSEFilter, pcm: bytes, size: int = 640) -> bytes:
    return b"".join([await audio_filter.filter(chunk) for chunk in chunks(pcm, size)])


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 24_000, 48_000])
def test_a_recording_through_an_input_transport(sample_rate: int) -> None:
    pcm = recording(sample_rate=sample_rate, seconds=1.0)
    got = asyncio.run(heard(LiteRTSEFilter(), audio(pcm, sample_rate), sample_rate))
    assert got == expected(pcm, sample_rate)
    assert rms(got) < 0.9 * rms(pcm)


def test_stereo_through_an_input_transport() -> None:
    left, right = recording(0, seconds=0.5), recording(1, seconds=0.5)
    got = asyncio.run(heard(LiteRTSEFilter(channels=2), audio(interleaved(left, right), channels=2), 16_000, 2))
    assert got == interleaved(expected(left), expected(right))


def test_a_recording_through_an_output_transport() -> None:
    pcm = recording(seconds=1.0)
    params = TransportParams(
        audio_out_enabled=True,
        audio_out_sample_rate=16_000,
        audio_out_filter=LiteRTSEFilter(),
        audio_out_auto_silence=False,
    )
    loudspeaker = Loudspeaker(params)
    frames = [OutputAudioRawFrame(chunk, 16_000, 1) for chunk in chunks(pcm, 640)]
    asyncio.run(run_test(loudspeaker, frames_to_send=[*frames, SleepFrame(1.0)], start_timeout=20))
    assert loudspeaker.played[: len(pcm)] == expected(pcm)


def test_frames_disable_and_enable_without_a_jump_in_time() -> None:
    pcm = recording(seconds=1.5)
    third = len(pcm) // 3 // 640 * 640

    async def scenario() -> bytes:
        audio_filter = LiteRTSEFilter()
        await audio_filter.start(16_000)
        got = await filtered(audio_filter, pcm[:third])
        await audio_filter.process_frame(FilterEnableFrame(enable=False))
        got += await filtered(audio_filter, pcm[third : 2 * third])
        await audio_filter.process_frame(FilterEnableFrame(enable=True))
        return got + await filtered(audio_filter, pcm[2 * third :])

    got, enhanced, bypassed = asyncio.run(scenario()), expected(pcm), expected(pcm, wet=0.0)
    late = 2 * 512  # bytes of two frames, within which a change takes effect
    assert bypassed[late:] == pcm[:-late]
    assert got[:third] == enhanced[:third]
    assert got[third + late : 2 * third] == bypassed[third + late : 2 * third]
    assert got[2 * third + late :] == enhanced[2 * third + late :]


def test_control_frames_reach_the_filter_through_the_transport() -> None:
    pcm = recording(seconds=0.5)
    frames: list[Frame] = [FilterEnableFrame(enable=False), SleepFrame(0.2), *audio(pcm)]
    assert asyncio.run(heard(LiteRTSEFilter(), frames, 16_000)) == expected(pcm, wet=0.0)
    frames = [FilterUpdateSettingsFrame({"attenuation_limit_db": 6.0}), SleepFrame(0.2), *audio(pcm)]
    assert asyncio.run(heard(LiteRTSEFilter(), frames, 16_000)) == expected(pcm, attenuation_limit_db=6)
    frames = [FilterUpdateSettingsFrame({"extra_reduction_db": 6.0}), SleepFrame(0.2), *audio(pcm)]
    assert asyncio.run(heard(LiteRTSEFilter(), frames, 16_000)) == expected(pcm, extra_reduction_db=6)


def test_weights_without_a_known_minimum_gain_have_no_extra_reduction() -> None:
    unknown = Network(packaged_network()._weights)
    words = r"^extra_reduction_db: expected 0 for weights that do not state their min_gain, got 6$"
    with pytest.raises(ValueError, match=words):
        LiteRTSEFilter(network=unknown, extra_reduction_db=6)
    audio_filter = LiteRTSEFilter(network=unknown)
    with pytest.raises(ValueError, match=words):  # also before the start
        asyncio.run(audio_filter.process_frame(FilterUpdateSettingsFrame({"extra_reduction_db": 6})))


@pytest.mark.parametrize(
    "settings",
    [
        {"wet": 2.0},
        {"wet": "loud"},
        {"attenuation_limit_db": -1},
        {"extra_reduction_db": float("nan")},
        {"loudness": 1},
        {"wet": 0.5, "attenuation_limit_db": "x"},
    ],
)
def test_settings_that_are_not_allowed_change_nothing(settings: dict[str, object]) -> None:
    pcm = recording(seconds=0.3)

    async def scenario() -> bytes:
        audio_filter = LiteRTSEFilter()
        await audio_filter.start(16_000)
        with pytest.raises((TypeError, ValueError), match=r"(wet|\w+_db|settings): expected .*, got "):
            await audio_filter.process_frame(FilterUpdateSettingsFrame(settings))
        return await filtered(audio_filter, pcm)

    assert asyncio.run(scenario()) == expected(pcm)


def test_settings_that_are_not_allowed_leave_the_call_alive() -> None:
    pcm = recording(seconds=0.3)
    frames = [FilterUpdateSettingsFrame({"wet": 2.0}), SleepFrame(0.2), *audio(pcm)]
    got, back = asyncio.run(through(LiteRTSEFilter(), frames, 16_000))
    assert got == expected(pcm)
    (error,) = (frame.error for frame in back if isinstance(frame, ErrorFrame))
    assert "wet: expected a share from 0 to 1, got 2.0" in error


def test_control_frames_of_other_kinds_are_ignored() -> None:
    async def scenario() -> bytes:
        audio_filter = LiteRTSEFilter()
        await audio_filter.process_frame(FilterControlFrame())  # also before the start
        await audio_filter.start(16_000)
        await audio_filter.process_frame(FilterControlFrame())
        return await filtered(audio_filter, recording(seconds=0.3))

    assert asyncio.run(scenario()) == expected(recording(seconds=0.3))


@pytest.mark.parametrize("size", [1, 2, 641, 5000, 1_000_000])
def test_chunks_of_any_size(size: int) -> None:
    pcm = recording(seconds=0.5)

    async def scenario() -> bytes:
        audio_filter = LiteRTSEFilter()
        await audio_filter.start(16_000)
        return await filtered(audio_filter, pcm, size)

    assert asyncio.run(scenario()) == expected(pcm)


def test_stop_and_start_begin_a_new_signal_at_another_rate() -> None:
    async def scenario() -> None:
        audio_filter = LiteRTSEFilter()
        with pytest.raises(RuntimeError, match=r"expected start\(sample_rate\) before"):
            await audio_filter.filter(b"\0\0")
        for sample_rate in (16_000, 8000, 16_000):
            pcm = recording(sample_rate=sample_rate, seconds=0.3)
            await audio_filter.start(sample_rate)
            assert await filtered(audio_filter, pcm + b"\1") == expected(pcm, sample_rate)
            assert audio_filter.latency_ms >= 32
            await audio_filter.stop()
            await audio_filter.stop()
        with pytest.raises(RuntimeError, match=r"expected start\(sample_rate\) before"):
            await audio_filter.filter(b"\0\0")

    asyncio.run(scenario())


@pytest.mark.parametrize("sample_rate", [0, -1, 16_000.5, 10_000_000, "16000", None])
def test_rates_that_are_not_supported(sample_rate: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^sample_rate: expected a whole number of Hz from 1000 to "):
        asyncio.run(LiteRTSEFilter().start(sample_rate))  # type: ignore[arg-type]


def test_many_sessions_are_independent() -> None:
    async def session(number: int) -> bytes:
        audio_filter = LiteRTSEFilter(network=packaged_network())
        await audio_filter.start(16_000)
        got = b""
        for chunk in chunks(recording(number, seconds=0.4), 640):
            got += await audio_filter.filter(chunk)
            await asyncio.sleep(0)
        return got

    async def sessions() -> list[bytes]:
        return list(await asyncio.gather(*map(session, range(6))))

    assert asyncio.run(sessions()) == [expected(recording(number, seconds=0.4)) for number in range(6)]


def test_a_long_chunk_leaves_time_to_other_tasks() -> None:
    async def scenario() -> float:
        audio_filter = LiteRTSEFilter()
        await audio_filter.start(16_000)
        call = asyncio.create_task(audio_filter.filter(recording(seconds=2.0)))
        turns = []
        while not call.done():
            begin = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - begin)
        assert await call == expected(recording(seconds=2.0))
        return max(turns) / sum(turns)

    assert asyncio.run(scenario()) < 0.25
