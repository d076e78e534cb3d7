"""PCM goes through a live streamer, however its bytes are divided."""

from __future__ import annotations

import numpy as np
import pytest

from lite_rtse_ext.integrations.pcm import PcmStream, Settings, packaged_network, pcm_of, samples_of
from lite_rtse_ext.stream import Network

from .recordings import expected, interleaved, recording, rms


def in_pieces(stream: PcmStream, pcm: bytes, size: int) -> bytes:
    return b"".join(stream.feed(pcm[begin : begin + size]) for begin in range(0, len(pcm), size))


def test_every_value_of_int16_survives_the_conversion() -> None:
    values = np.arange(-32768, 32768).astype("<i2").tobytes()
    assert pcm_of(samples_of(values)) == values


def test_samples_above_full_scale_clip() -> None:
    loud = np.array([1.0, 7.0, -1.0, -7.0, 0.6 / 32768], np.float32)
    assert np.frombuffer(pcm_of(loud), "<i2").tolist() == [32767, 32767, -32768, -32768, 1]


@pytest.mark.parametrize("size", [1, 2, 3, 320, 641, 10_000, 1_000_000])
def test_any_division_gives_the_same_bytes(size: int) -> None:
    pcm = recording(seconds=0.5)
    assert in_pieces(PcmStream(packaged_network(), 16_000), pcm, size) == expected(pcm)


@pytest.mark.parametrize("size", [1, 3, 6, 641])
def test_channels_are_streams_of_their_own(size: int) -> None:
    left, right = recording(0, seconds=0.5), recording(1, seconds=0.5)
    stream = PcmStream(packaged_network(), 16_000, channels=2)
    assert in_pieces(stream, interleaved(left, right), size) == interleaved(expected(left), expected(right))


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 24_000, 44_100, 48_000])
def test_output_is_as_long_as_input_and_late_by_the_stated_delay(sample_rate: int) -> None:
    pcm = recording(sample_rate=sample_rate)
    stream = PcmStream(packaged_network(), sample_rate)
    stream.set(Settings(wet=0.0))
    delayed = in_pieces(stream, pcm, 2 * sample_rate // 50)
    assert len(delayed) == len(pcm)
    late = stream.latency_samples
    assert stream.latency_ms == pytest.approx(1e3 * late / sample_rate)
    noisy, output = samples_of(pcm)[:-late], samples_of(delayed)[late:]
    assert not np.any(samples_of(delayed)[: late // 2])
    assert np.corrcoef(noisy, output)[0, 1] > 0.97  # the network's noisy signal ends at 8 kHz
    if sample_rate == 16_000:
        assert np.array_equal(noisy, output)


def test_settings_change_a_running_stream() -> None:
    pcm = recording()
    limited = PcmStream(packaged_network(), 16_000)
    limited.set(Settings(attenuation_limit_db=6))
    assert limited.feed(pcm) == expected(pcm, attenuation_limit_db=6)
    assert rms(expected(pcm)) < rms(expected(pcm, attenuation_limit_db=6)) < rms(pcm)


def test_an_extra_reduction_changes_a_running_stream() -> None:
    pcm, half = recording(), 32_000 // 512 * 512
    stream = PcmStream(packaged_network(), 16_000)
    got = stream.feed(pcm[:half])
    stream.set(Settings(extra_reduction_db=12))
    got += stream.feed(pcm[half:])
    before, after = expected(pcm), expected(pcm, extra_reduction_db=12)
    late = 2 * 512  # bytes of two frames
    assert got[:half] == before[:half]
    assert got[half + late :] == after[half + late :]
    assert rms(after) < rms(before)


def test_weights_without_a_known_minimum_gain_have_no_extra_reduction() -> None:
    pcm = recording(seconds=0.3)
    stream = PcmStream(Network(packaged_network()._weights), 16_000)
    expected_words = r"^extra_reduction_db: expected 0 for weights that do not state their min_gain, got 6$"
    with pytest.raises(ValueError, match=expected_words):
        stream.set(Settings(wet=0.5, extra_reduction_db=6))
    assert stream.feed(pcm) == expected(pcm)


def test_a_path_is_no_network() -> None:
    with pytest.raises(TypeError, match=r"^network: expected a Network, got str: see Network.from_pretrained$"):
        Settings().check_for("lite-rtse.safetensors")  # type: ignore[arg-type]


def test_sessions_share_the_weights() -> None:
    assert packaged_network() is packaged_network()


@pytest.mark.parametrize(
    ("channels", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, ValueError), (65, ValueError), ("2", TypeError), (True, TypeError)],
)
def test_channels_must_be_a_number_from_one_to_64(channels: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^channels: expected a whole number from 1 to 64, got "):
        PcmStream(packaged_network(), 16_000, channels)  # type: ignore[arg-type]


def test_a_number_of_channels_may_be_of_any_numeric_type() -> None:
    assert PcmStream(packaged_network(), 16_000, np.int64(2)).channels == 2


@pytest.mark.parametrize("name", ["sample_rate", "channels"])
def test_what_the_constructor_fixes_can_not_be_assigned(name: str) -> None:
    stream = PcmStream(packaged_network(), 16_000)
    with pytest.raises(AttributeError):
        setattr(stream, name, getattr(stream, name))
