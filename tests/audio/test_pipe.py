"""WAV and bare samples through pipes: headers, lengths, whatever the pieces are."""

from __future__ import annotations

import io
import struct
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from lite_rtse_ext.audio import AudioError, AudioFormat, AudioWarning
from lite_rtse_ext.audio.formats import SAMPLE_BYTES
from lite_rtse_ext.audio.pipe import RAW_SUBTYPES, PipeReader, PipeWriter
from lite_rtse_ext.cli.pipes import RAW_TYPES


class Pipe:
    """Gives bytes in pieces of these sizes, then the rest at once."""

    def __init__(self, data: bytes, sizes: list[int] | None = None) -> None:
        self.data, self.sizes = data, list(sizes or [])

    def read1(self, size: int = -1, /) -> bytes:
        most = self.sizes.pop(0) if self.sizes else len(self.data)
        piece = self.data[: min(most, size if size >= 0 else most)]
        self.data = self.data[len(piece) :]
        return piece


def samples(frames: int = 1000, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, (frames, channels)).astype(np.float32)


def wav(audio: np.ndarray, subtype: str = "PCM_16", container: str = "WAV", rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, audio, rate, subtype, format=container)
    return buffer.getvalue()


def read(data: bytes, sizes: list[int] | None = None, raw: AudioFormat | None = None) -> tuple[AudioFormat, np.ndarray]:
    reader = PipeReader(Pipe(data, sizes), raw)
    return reader.format, np.concatenate(list(reader.blocks()))


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", RAW_SUBTYPES.values())
def test_what_libsndfile_writes_is_read(subtype: str, container: str) -> None:
    data = wav(samples(), subtype, container, 44_100)
    found, audio = read(data)
    kind, mask = ("WAV", None) if container == "WAV" else ("WAVEX", 3)  # libsndfile's RF64 is an extensible WAV too
    assert found == AudioFormat(44_100, 2, kind, subtype, frames=1000, channel_mask=mask)
    np.testing.assert_array_equal(audio, sf.read(io.BytesIO(data), dtype="float32")[0])


@given(sizes=st.lists(st.integers(1, 300), max_size=60), channels=st.sampled_from([1, 2, 3]))
def test_the_pieces_leave_no_trace(sizes: list[int], channels: int) -> None:
    data = wav(samples(500, channels), "PCM_24")
    np.testing.assert_array_equal(read(data, sizes)[1], read(data)[1])


@pytest.mark.parametrize("subtype", RAW_SUBTYPES.values())
def test_what_is_written_is_a_wav(subtype: str) -> None:
    audio = samples()
    for frames in (None, 1000):  # not known, and known
        target = io.BytesIO()
        writer = PipeWriter(target, AudioFormat(48_000, 2, "WAV", subtype, frames=frames))
        for block in (audio[:10], audio[10:11], audio[11:]):
            writer.write(block)
        found, got = read(target.getvalue())
        assert found == AudioFormat(48_000, 2, "WAV", subtype, frames=frames)
        np.testing.assert_array_equal(got, sf.read(io.BytesIO(wav(audio, subtype)), dtype="float32")[0])
    assert sf.info(io.BytesIO(target.getvalue())).frames == 1000
    if subtype == "PCM_16":
        assert target.getvalue() == wav(audio, subtype, rate=48_000)


class Unbuffered(io.BytesIO):
    """Takes at most so many bytes at a time, and in all no more than there is room for: as a pipe without a buffer."""

    def __init__(self, most: int, room: int) -> None:
        super().__init__()
        self.most, self.room = most, room

    def write(self, data: bytes) -> int | None:  # type: ignore[override]
        return super().write(data[: min(self.most, self.room - self.tell())]) or None


def test_all_samples_get_into_an_unbuffered_pipe() -> None:
    target, whole = Unbuffered(most=999, room=10_000), io.BytesIO()
    for each in (target, whole):
        PipeWriter(each, AudioFormat(16_000, 2, "WAV", "PCM_16")).write(samples())
    assert target.getvalue() == whole.getvalue()


def test_samples_that_an_unbuffered_pipe_refuses_are_an_error() -> None:
    writer = PipeWriter(Unbuffered(most=999, room=2000), AudioFormat(16_000, 2, "WAV", "PCM_16"))
    with pytest.raises(BlockingIOError, match="expected a pipe that waits while it is full, got one that does not"):
        writer.write(samples())


def test_other_sample_types_become_16_bits_and_too_long_is_not_known() -> None:
    for subtype, frames in (("VORBIS", None), ("PCM_16", 2**31)):
        target = io.BytesIO()
        with nullcontext() if subtype == "PCM_16" else pytest.warns(AudioWarning, match="VORBIS is not written in WAV"):
            PipeWriter(target, AudioFormat(16_000, 1, "OGG", subtype, frames=frames))
        assert target.getvalue()[-4:] == b"\xff" * 4
        assert struct.unpack("<H", target.getvalue()[34:36]) == (16,)


@pytest.mark.parametrize("name", RAW_SUBTYPES)
def test_bare_samples(name: str) -> None:
    subtype = RAW_SUBTYPES[name]
    target = io.BytesIO()
    PipeWriter(target, AudioFormat(8000, 2, "WAV", "PCM_16"), raw=subtype).write(samples())
    assert len(target.getvalue()) == 2000 * SAMPLE_BYTES[subtype]
    raw = AudioFormat(8000, 2, "WAV", subtype)
    found, got = read(target.getvalue(), [7, 1, 100], raw)
    assert found == raw
    coarse = {"u8": 2**-6, "ulaw": 2**-5, "alaw": 2**-5}
    np.testing.assert_allclose(got, samples(), atol=coarse.get(name, 2**-14))


def test_the_names_of_types_are_the_commands() -> None:
    assert tuple(RAW_SUBTYPES) == RAW_TYPES


# Data lengths as arecord, sox, ffmpeg and others leave them in a WAV that goes into a pipe.
@pytest.mark.parametrize("length", [0, 0x7FFFFFFF - 36, 0x7FFFF000, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36])
def test_a_length_that_no_file_has_is_no_length(length: int) -> None:
    data = bytearray(wav(samples()))
    data[40:44] = struct.pack("<I", length)
    found, audio = read(bytes(data))
    assert (found.frames, len(audio)) == (None, 1000)


def test_chunks_around_the_samples_are_none() -> None:
    data = wav(samples())
    before = b"LIST" + struct.pack("<I", 5) + b"abcde\0"
    pipe = Pipe(data[:36] + before + data[36:] + b"LIST" + struct.pack("<I", 4) + b"abcd")
    reader = PipeReader(pipe)
    np.testing.assert_array_equal(np.concatenate(list(reader.blocks())), read(data)[1])
    assert pipe.data
    reader.drain()
    assert not pipe.data


def test_rf64_says_its_length_in_64_bits() -> None:
    """Of a file longer than 32 bits can say, as far as one needs to read of it."""
    layout = wav(samples(10))[12:36]
    size = 5 * 2**32
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, size + 72, size, size // 4, 0)
    reader = PipeReader(Pipe(b"RF64" + b"\xff" * 4 + b"WAVE" + ds64 + layout + b"data" + b"\xff" * 4 + bytes(400)))
    assert reader.format.frames == size // 4
    with pytest.raises(AudioError, match="-: damaged, it ends after 100 samples a channel"):
        list(reader.blocks())


def header(tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16) -> bytes:
    layout = struct.pack("<HHIIHH", tag, channels, rate, 0, 0, bits)
    return b"RIFF" + bytes(4) + b"WAVEfmt " + struct.pack("<I", 16) + layout


DATA = b"data" + struct.pack("<I", 8)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "ends within the header"),
        (b"RIFF", "ends within the header"),
        (b"OggS" + bytes(60), "no WAV; of samples without a header"),
        (b"RIFF" + bytes(4) + b"AVI " + bytes(60), "no WAV"),
        (header()[:20], "ends within the header"),
        (b"RIFF" + bytes(4) + b"WAVE" + DATA, "a WAV without a format"),
        (b"RIFF" + bytes(4) + b"WAVEfmt " + struct.pack("<I", 4) + bytes(4), "damaged format"),
        (b"RIFF" + bytes(4) + b"WAVE" + (b"fill" + bytes(4)) * 1000, "without samples"),
        (header()[:12] + b"LIST" + b"\xff" * 4, "a header of 4294967295 bytes"),
        (header(tag=2) + DATA, "not read from pipes: 1 channels at 16000 Hz, kind 2 of 16 bits"),
        (header(channels=0) + DATA, "expected 1 to 64 channels, got 0"),
        (header(channels=65_535) + DATA, "expected 1 to 64 channels, got 65535"),
        (header(rate=0) + DATA, "expected a sample rate of 1000 to 1000000 Hz, got one of 0 Hz"),
        (header() + b"data" + bytes(4), "holds no samples"),
        (header() + b"data" + struct.pack("<I", 2000) + bytes(8), "damaged, it ends after 4 samples a channel"),
        (header(tag=3, bits=32) + DATA + struct.pack("<2f", 0.5, np.nan), "sample 1 of channel 0 is nan"),
    ],
)
def test_what_is_no_wav_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(AudioError) as error:
        read(data)
    assert str(error.value).startswith("-: ")
    assert words in str(error.value)


@given(st.data())
def test_damaged_headers_are_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(wav(samples(50)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 60))] = data.draw(st.integers(0, 255))
    try:
        found, audio = read(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    except AudioError:
        return
    assert audio.shape[1] == found.channels
    assert np.isfinite(audio).all()


# --- files beyond 4 GiB -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "AIFF"])
def test_what_a_format_cannot_hold_is_refused(container: str) -> None:
    audio_format = AudioFormat(48_000, 2, container, "PCM_24")
    audio_format.check_size(Path("x.wav"), 700_000_000)
    with pytest.raises(AudioError, match=rf"x\.wav: 4\.2 GiB of samples are more than {container} can hold \(4 GiB\)"):
        audio_format.check_size(Path("x.wav"), 750_000_000)


@pytest.mark.parametrize("container", ["W64", "RF64", "CAF", "FLAC"])
def test_others_can_hold_more(container: str) -> None:
    AudioFormat(48_000, 2, container, "PCM_24").check_size(Path("x"), 10**11)
