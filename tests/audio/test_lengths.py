"""Lengths that headers state: none, nothing, too much, too little. All samples that are there are read, as a file and
through a pipe, or the file is refused in words."""

from __future__ import annotations

import io
import os
import struct
from contextlib import ExitStack, nullcontext
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext.audio import AudioError, AudioWarning, read, read_blocks, read_format
from lite_rtse_ext.audio.io import CONTAINERS, open_pipe
from lite_rtse_ext.enhance.conversion import file_to_file

RATE, FRAMES = 16_000, 20_001
UNKNOWN = [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFF000]


def sound(frames: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (frames, 1)).astype(np.float32)


def made(container: str, subtype: str = "PCM_16", frames: int = FRAMES) -> bytearray:
    buffer = io.BytesIO()
    sf.write(buffer, sound(frames), RATE, subtype, format=container)
    return bytearray(buffer.getvalue())


def with_length(data: bytearray, after: bytes, offset: int, layout: str, value: int) -> bytes:
    """The file with another number behind the name of a chunk."""
    struct.pack_into(layout, data, data.find(after) + len(after) + offset, value)
    return bytes(data)


def flac_of(frames: int) -> bytes:
    """A FLAC that states this length; 0 means that it is not known."""
    data = made("FLAC")
    count = int.from_bytes(data[18:26], "big") >> 36 << 36 | frames
    data[18:26] = count.to_bytes(8, "big")
    return bytes(data)


def mp3_without_length() -> bytes:
    """Of a varying bit rate, most of it at the end: what is estimated from its beginning is far too short."""
    samples = np.concatenate([1e-5 * sound(4 * FRAMES), sound(8 * FRAMES)])
    buffer = io.BytesIO()
    options = {"bitrate_mode": "VARIABLE", "compression_level": 0.0}
    with sf.SoundFile(buffer, "w", 48_000, 1, "MPEG_LAYER_III", format="MP3", **options) as file:
        file.write(samples)
    data = bytearray(buffer.getvalue())
    second = data.find(b"\xff\xfb", 4)  # the first frame holds the length
    return bytes(data[second:])


CASES = {f"wav {length:#x}": with_length(made("WAV"), b"data", 0, "<I", length) for length in [0, *UNKNOWN]}
CASES |= {f"wavex {length:#x}": with_length(made("WAVEX"), b"data", 0, "<I", length) for length in [0, *UNKNOWN]}
CASES |= {
    f"rf64 {length:#x}": with_length(made("RF64"), b"ds64", 12, "<Q", length) for length in [0, 2**63 - 1, 2**64 - 1]
}
CASES |= {f"aiff {length:#x}": with_length(made("AIFF"), b"SSND", 0, ">I", length) for length in [0, *UNKNOWN]}
CASES |= {f"aiff frames {length:#x}": with_length(made("AIFF"), b"COMM", 6, ">I", length) for length in [0, 2**32 - 1]}
CASES |= {f"au {length:#x}": with_length(made("AU"), b".snd", 4, ">I", length) for length in [0, *UNKNOWN]}
CASES |= {f"caf {length:#x}": with_length(made("CAF"), b"data", 0, ">Q", length) for length in [2**63 - 1, 2**64 - 1]}
CASES |= {
    f"w64 {length:#x}": with_length(made("W64"), b"data", 12, "<Q", length) for length in [0, 2**63 - 1, 2**64 - 1]
}
CASES |= {
    "flac unknown": flac_of(0),
    "flac absurd": flac_of(2**36 - 1),
    "flac with a tag behind it": flac_of(FRAMES) + b"TAG" + bytes(125),
}
SLACK = {"wav off by its header": 44, "wav of no whole frames": 1}
CASES |= {name: with_length(made("WAV"), b"data", 0, "<I", 2 * FRAMES + more) for name, more in SLACK.items()}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> bytes:
    return CASES[request.param]


def same(got: np.ndarray) -> None:
    assert got.shape == (FRAMES, 1)
    assert np.abs(got - sound()).max() <= 2**-14


def test_all_samples_of_a_file_are_read(tmp_path: Path, case: bytes) -> None:
    (tmp_path / "in").write_bytes(case)
    for block_frames in (65_536, 8000, 7):
        same(np.concatenate(list(read_blocks(tmp_path / "in", block_frames))))
    assert read(tmp_path / "in")[1].frames == FRAMES


def test_all_samples_of_a_pipe_are_read(case: bytes) -> None:
    with ExitStack() as stack:
        same(np.concatenate(list(open_pipe(io.BytesIO(case), None, "-", stack).blocks())))


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_a_length_unknown_goes_into_every_format(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in.flac").write_bytes(flac_of(0))
    found = read_format(tmp_path / "in.flac")
    assert (found.frames, found.seconds) == (None, None)
    lost = suffix in (".flac", ".wav", ".w64", ".rf64", ".aif", ".aiff", ".caf", ".au")
    file_to_file(tmp_path / "in.flac", tmp_path / f"out{suffix}", False, lambda reader: reader.blocks())
    got, _ = read(tmp_path / f"out{suffix}")
    assert len(got) == FRAMES
    if lost:
        same(got)


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_an_mp3_that_states_no_length_is_read_to_its_end(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in.mp3").write_bytes(mp3_without_length())
    assert len(read(tmp_path / "in.mp3")[0]) >= 12 * FRAMES
    assert not read_format(tmp_path / "in.mp3").exact
    with nullcontext() if suffix == ".mp3" else pytest.warns(AudioWarning):
        file_to_file(tmp_path / "in.mp3", tmp_path / f"out{suffix}", False, lambda reader: reader.blocks())
    assert len(read(tmp_path / f"out{suffix}")[0]) == len(read(tmp_path / "in.mp3")[0])


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "MP3"])
def test_what_is_cut_off_is_read_to_its_end_and_told(tmp_path: Path, container: str) -> None:
    data = made(container, "MPEG_LAYER_III" if container == "MP3" else "PCM_16")
    (tmp_path / "in").write_bytes(data[: len(data) // 2])
    with pytest.warns(AudioWarning, match=r"in: is cut off, its header states 1\.25 s of sound, there are 0\.\d\d s"):
        got, _ = read(tmp_path / "in")
    assert FRAMES // 4 < len(got) < FRAMES * 3 // 4


def test_a_flac_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    data = made("FLAC", frames=200_000)
    (tmp_path / "in").write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match="in: damaged"):
        read(tmp_path / "in")


@pytest.mark.parametrize(
    ("container", "subtype"), [("OGG", "VORBIS"), ("CAF", "PCM_16"), ("AU", "PCM_16"), ("AIFF", "PCM_16")]
)
def test_what_can_not_tell_that_it_is_cut_off_is_read_to_its_end(tmp_path: Path, container: str, subtype: str) -> None:
    data = made(container, subtype, 200_000)
    (tmp_path / "in").write_bytes(data[: len(data) // 2])
    assert 80_000 < len(read(tmp_path / "in")[0]) < 120_000


def test_a_flac_that_is_shorter_than_stated_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(flac_of(2 * FRAMES))
    with pytest.raises(AudioError, match=rf"in: damaged, {FRAMES} of {2 * FRAMES} samples a channel could be read"):
        read(tmp_path / "in")


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3"])
def test_a_file_without_samples_is_refused_and_nothing_is_left(tmp_path: Path, container: str) -> None:
    types = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
    (tmp_path / "in").write_bytes(made(container, types.get(container, "PCM_16"), 0))
    with pytest.raises(AudioError, match="in: "):
        file_to_file(tmp_path / "in", tmp_path / "out.wav", False, lambda reader: reader.blocks())
    assert os.listdir(tmp_path) == ["in"]


def test_a_wav_whose_samples_are_none_but_whose_chunks_follow_is_empty(tmp_path: Path) -> None:
    data = made("WAV", frames=0) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    struct.pack_into("<I", data, 4, len(data) - 8)
    (tmp_path / "in.wav").write_bytes(data)
    with pytest.raises(AudioError, match=r"in\.wav: holds no samples"):
        read(tmp_path / "in.wav")


def test_an_mp3_that_is_all_padding_holds_no_samples(tmp_path: Path) -> None:
    data = made("MP3", "MPEG_LAYER_III", 100)
    tag = data.find(b"LAME")
    data[tag + 21 : tag + 24] = struct.pack(">I", 1105 << 12 | 4095)[1:]  # delay and padding of the encoder
    (tmp_path / "in.mp3").write_bytes(data)
    with pytest.raises(AudioError, match=r"in\.mp3: holds no samples"):
        file_to_file(tmp_path / "in.mp3", tmp_path / "out.mp3", False, lambda reader: reader.blocks())
    assert os.listdir(tmp_path) == ["in.mp3"]
