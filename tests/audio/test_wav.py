"""Kinds of WAV: telephone codings, ADPCM, odd widths and speaker layouts, as files and through pipes."""

from __future__ import annotations

import io
import struct
from contextlib import ExitStack, nullcontext
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext.audio import AudioError, AudioFormat, AudioWarning, read, read_format
from lite_rtse_ext.audio.io import open_pipe
from lite_rtse_ext.audio.pipe import PipeReader, PipeWriter
from lite_rtse_ext.enhance.conversion import file_to_file

RATE, FRAMES = 16_000, 30_001
PCM = bytes.fromhex("0100000000001000800000aa00389b71")


def sound(channels: int = 1, frames: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)


def wav(layout: bytes, data: bytes) -> bytes:
    chunks = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def layout(channels: int, bits: int, word_bytes: int, tag: int = 1) -> bytes:
    frame = word_bytes * channels
    return struct.pack("<HHIIHH", tag, channels, RATE, RATE * frame, frame, bits)


def extensible(channels: int, mask: int, bits: int = 16) -> bytes:
    return layout(channels, bits, -(-bits // 8), 0xFFFE) + struct.pack("<HHI", 22, bits, mask) + PCM


def piped(data: bytes) -> tuple[AudioFormat, np.ndarray]:
    with ExitStack() as stack:
        reader = open_pipe(io.BytesIO(data), None, "-", stack)
        return reader.format, np.concatenate(list(reader.blocks()))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "subtype", ["ULAW", "ALAW", "MS_ADPCM", "IMA_ADPCM", "GSM610", "NMS_ADPCM_16", "G721_32", "PCM_U8", "PCM_24"]
)
def test_a_pipe_gives_what_the_file_gives(tmp_path: Path, subtype: str, channels: int) -> None:
    path = tmp_path / "in.wav"
    try:
        sf.write(path, sound(channels), RATE, subtype)
    except sf.LibsndfileError:  # some are for one channel
        path.unlink()
        assert channels == 2
        return
    samples, _ = read(path)
    found, got = piped(path.read_bytes())
    assert (found.sample_rate, found.channels, found.subtype) == (RATE, channels, subtype)
    np.testing.assert_array_equal(got, samples)


@pytest.mark.parametrize(("bits", "word_bytes"), [(12, 2), (20, 3), (24, 4), (20, 4), (8, 1), (24, 3), (32, 4)])
@pytest.mark.parametrize("wide", [False, True])
def test_samples_may_be_narrower_than_their_words(tmp_path: Path, bits: int, word_bytes: int, wide: bool) -> None:
    """They lie at the upper end of the word."""
    words = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 999) << (8 * word_bytes - bits)
    stored = (words + 128).astype("u1") if word_bytes == 1 else words.astype("<i4")
    data = stored.view("u1").reshape(len(words), -1)[:, :word_bytes].tobytes()
    chunk = (
        layout(1, bits, word_bytes, 0xFFFE) + struct.pack("<HHI", 22, bits, 4) + PCM
        if wide
        else layout(1, bits, word_bytes)
    )
    (tmp_path / "in.wav").write_bytes(wav(chunk, data))
    expected = words[:, None] / 2 ** (8 * word_bytes - 1)
    for samples in (read(tmp_path / "in.wav")[0], piped(wav(chunk, data))[1]):
        np.testing.assert_allclose(samples, expected, atol=2**-23)


@pytest.mark.parametrize(("channels", "mask"), [(6, 0x60F), (8, 0x63F), (2, 0), (2, 3), (1, 4), (6, 0x3F), (4, 0x33)])
def test_speakers_are_kept(tmp_path: Path, channels: int, mask: int) -> None:
    data = wav(extensible(channels, mask), (32767 * sound(channels)).astype("<i2").tobytes())
    (tmp_path / "in.wav").write_bytes(data)
    assert read_format(tmp_path / "in.wav").channel_mask == mask
    file_to_file(tmp_path / "in.wav", tmp_path / "out.wav", False, lambda reader: reader.blocks())
    assert (tmp_path / "out.wav").read_bytes()[20:44] == data[20:44]
    np.testing.assert_array_equal(read(tmp_path / "out.wav")[0], read(tmp_path / "in.wav")[0])
    reader, target = PipeReader(io.BytesIO(data)), io.BytesIO()
    PipeWriter(target, reader.format).write(np.concatenate(list(reader.blocks())))
    assert target.getvalue() == data
    file_to_file(tmp_path / "in.wav", tmp_path / "out.flac", False, lambda reader: reader.blocks())
    assert read_format(tmp_path / "out.flac").channel_mask is None


@pytest.mark.parametrize("subtype", ["MS_ADPCM", "IMA_ADPCM", "GSM610"])
def test_codings_in_blocks_become_16_bits_and_stay_as_long(tmp_path: Path, subtype: str) -> None:
    sf.write(tmp_path / "in.wav", sound(), RATE, subtype)
    length = len(read(tmp_path / "in.wav")[0])
    with pytest.warns(AudioWarning, match=f"{subtype} is not written in WAV: PCM_16 is written instead"):
        file_to_file(tmp_path / "in.wav", tmp_path / "out.wav", False, lambda reader: reader.blocks())
    found = read_format(tmp_path / "out.wav")
    assert (found.subtype, found.frames) == ("PCM_16", length)


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "FLOAT", "DOUBLE", "PCM_U8", "PCM_24", "MS_ADPCM"])
def test_what_is_written_into_a_pipe_is_what_is_written_into_a_file(tmp_path: Path, subtype: str) -> None:
    audio_format = AudioFormat(RATE, 2, "WAV", subtype, frames=FRAMES)
    target = io.BytesIO()
    with pytest.warns(AudioWarning) if subtype == "MS_ADPCM" else nullcontext():
        PipeWriter(target, audio_format).write(sound(2))
    (tmp_path / "a.wav").write_bytes(target.getvalue())
    sf.write(tmp_path / "b.wav", sound(2), RATE, "PCM_16" if subtype == "MS_ADPCM" else subtype)
    assert read_format(tmp_path / "a.wav") == read_format(tmp_path / "b.wav")
    np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], read(tmp_path / "b.wav")[0])


def test_a_24_bit_file_in_words_of_32_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    """libsndfile would read noise from it."""
    (tmp_path / "in.wav").write_bytes(wav(layout(1, 24, 4), bytes(8000))[:4000])
    with pytest.raises(AudioError, match=r"in\.wav: damaged, it ends after 989 samples a channel"):
        read(tmp_path / "in.wav")
