"""Whatever can be read can be written in every format that is written, and is as long afterwards."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext.audio import AudioError, AudioFormat, AudioWarning, read, read_format, write
from lite_rtse_ext.audio.formats import CONTAINERS, MOST_CHANNELS, READ_SUFFIXES, WRITTEN
from lite_rtse_ext.enhance.conversion import file_to_file

RATE = 48_000  # which every lossy coder takes
FRAMES = 1501  # odd, and no whole number of anybody's blocks
# Those that libsndfile can't write at all, or not to a file without a second file beside it, or not to read them again.
UNWRITABLE = {"RAW", "SD2", "AIFF/DWVW_12", "MP3/MPEG_LAYER_I", "MP3/MPEG_LAYER_II"}

CODER_RATES = {".opus": [8000, 12_000, 16_000, 24_000, 48_000], ".mp3": [8000, 16_000, 22_050, 24_000, 44_100, 48_000]}


def sound(frames: int = FRAMES, channels: int = 1) -> np.ndarray:
    phase = np.arange(frames)[:, None] * (0.03 + 0.02 * np.arange(channels))
    return (0.5 * np.sin(phase)).astype(np.float32)


def kinds() -> list[tuple[str, str]]:
    """All pairs of container and sample type that this libsndfile says it knows."""
    return [
        (each, name)
        for each in sf.available_formats()
        for name in sf.available_subtypes(each)
        if UNWRITABLE.isdisjoint((each, f"{each}/{name}"))
    ]


def make(path: Path, container: str, subtype: str, channels: int = 1) -> Path:
    """A file of this kind; MP3 in RIFF is wrapped by hand, as recorders do. Skips what can't be written."""
    if (container, subtype) == ("WAV", "MPEG_LAYER_III"):
        mp3 = make(path.with_suffix(".mp3"), "MP3", subtype, channels).read_bytes()
        layout = struct.pack("<HHIIHHHHIHHH", 0x55, channels, RATE, 28_000, 1, 0, 12, 1, 2, 1152, 1, 0)
        body = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", len(mp3)) + mp3
        path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
        return path
    try:
        sf.write(path, sound(channels=channels), RATE, subtype, format=container)
        assert sf.info(path).frames
    except (sf.LibsndfileError, AssertionError) as error:
        pytest.skip(f"libsndfile does not write {container}/{subtype}: {error}")
    return path


def copied(source: Path, target: Path) -> AudioFormat:
    file_to_file(source, target, False, lambda reader: reader.blocks())
    return read_format(target)


@pytest.mark.filterwarnings("ignore::lite_rtse_ext.audio.AudioWarning")
@pytest.mark.parametrize(("container", "subtype"), kinds())
def test_every_format_becomes_every_format(tmp_path: Path, container: str, subtype: str) -> None:
    suffix = next((suffix for suffix, name in CONTAINERS.items() if name == container), ".wav")
    source = make(tmp_path / f"in{suffix}", container, subtype)
    samples, found = read(source)
    for target in CONTAINERS:
        out = tmp_path / f"out{target}"
        if found.sample_rate not in CODER_RATES.get(target, [found.sample_rate]):
            with pytest.raises(AudioError, match=rf"out\{target}: can't write {found.sample_rate} Hz, 1 channel"):
                copied(source, out)
            continue
        written = copied(source, out)
        assert (written.sample_rate, written.channels) == (found.sample_rate, 1), target
        assert written.subtype in WRITTEN[written.container]
        got, _ = read(out)
        assert len(got) == len(samples), target
        assert np.corrcoef(got[:, 0], samples[:, 0])[0, 1] > (0.7 if subtype == "GSM610" else 0.97), target


@pytest.mark.parametrize(("container", "subtype"), [(each, name) for each, names in WRITTEN.items() for name in names])
def test_what_is_said_to_be_written_is(tmp_path: Path, container: str, subtype: str) -> None:
    rate = {"WVE": 8000, "MPC2K": 44_100, "XI": 44_100, "HTK": 50_000, "VOC": 50_000}.get(container, RATE)
    path = tmp_path / "out"
    for frames in (1, FRAMES):
        write(path, sound(frames), AudioFormat(rate, 1, container, subtype))
        found = read_format(path)
        assert (found.container, found.subtype, found.sample_rate) == (container, subtype, rate)
        assert len(read(path)[0]) == frames


@pytest.mark.parametrize(("container", "subtype"), [(each, name) for each, names in WRITTEN.items() for name in names])
def test_loud_noise_is_written_as_it_is(tmp_path: Path, container: str, subtype: str) -> None:
    if container in {"OGG", "MP3", "XI"}:
        pytest.skip("the coding changes noise")
    noise = np.random.default_rng(0).choice([-0.9, 0.9], (5000, 1 if container in {"HTK", "SVX", "WVE"} else 2))
    path = tmp_path / "out"
    write(path, noise.astype(np.float32), AudioFormat(8000, noise.shape[1], container, subtype))
    np.testing.assert_allclose(read(path)[0], noise, atol=0.05)


@pytest.mark.parametrize(
    ("container", "subtype", "suffix", "expected"),
    [
        ("WAV", "MS_ADPCM", ".wav", "PCM_16"),
        ("WAV", "IMA_ADPCM", ".wav", "PCM_16"),
        ("WAV", "GSM610", ".wav", "PCM_16"),
        ("WAV", "MPEG_LAYER_III", ".wav", "PCM_16"),
        ("AIFF", "PCM_S8", ".aiff", "PCM_16"),
        ("AU", "G721_32", ".au", "PCM_16"),
        ("MP3", "MPEG_LAYER_III", ".wav", "PCM_16"),
        ("MP3", "MPEG_LAYER_II", ".mp3", "MPEG_LAYER_III"),
        ("CAF", "ALAC_24", ".flac", "PCM_24"),
        ("CAF", "ALAC_20", ".caf", "PCM_24"),
        ("CAF", "ALAC_32", ".caf", "PCM_24"),
        ("W64", "DOUBLE", ".flac", "PCM_24"),
        ("MAT5", "DOUBLE", ".pvf", None),
    ],
)
def test_what_is_not_kept_is_told(container: str, subtype: str, suffix: str, expected: str | None) -> None:
    before = AudioFormat(RATE, 1, container, subtype)
    source = Path(f"a{next((name for name, each in CONTAINERS.items() if each == container), '.mat')}")
    if expected is None:
        with pytest.raises(AudioError, match=r"b\.pvf: \.pvf is read but not written, use one of \.wav \.w64"):
            before.renamed(Path("b.pvf"), source)
        return
    with pytest.warns(AudioWarning, match=f"{subtype} is not written in {CONTAINERS[suffix]}: {expected} is written"):
        assert before.renamed(Path(f"b{suffix}"), source).subtype == expected


@pytest.mark.parametrize(
    ("container", "subtype", "source", "target"),
    [
        ("WAV", "ULAW", "a.wav", "b.wav"),
        ("WAV", "FLOAT", "a.wav", "b.w64"),
        ("OGG", "VORBIS", "a.ogg", "b.mp3"),
        ("FLAC", "PCM_16", "a.flac", "b.opus"),
        ("NIST", "ULAW", "a.wav", "b.wav"),
        ("WAVEX", "PCM_24", "a.wave", "b.wav"),
    ],
)
def test_nothing_is_told_where_nothing_is_lost_or_the_name_says_it(
    container: str, subtype: str, source: str, target: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AudioFormat(RATE, 1, container, subtype).renamed(Path(target), Path(source))


def test_big_endian_extensible_wav_is_written_little_endian() -> None:
    before = AudioFormat(RATE, 2, "WAVEX", "PCM_16", "BIG", channel_mask=3)
    with pytest.warns(AudioWarning, match="WAVEX of big-endian samples is not written"):
        after = before.renamed(Path("b.wav"), Path("a.wav"))
    assert (after.container, after.endian, after.channel_mask) == ("WAVEX", "FILE", 3)


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
@pytest.mark.parametrize("container", ["WAV", "AIFF", "CAF", "AU"])
def test_the_order_of_bytes_is_kept(tmp_path: Path, container: str, endian: str) -> None:
    sf.write(tmp_path / "a.au", sound(), RATE, "PCM_16", endian, container)
    before, after = read_format(tmp_path / "a.au"), copied(tmp_path / "a.au", tmp_path / "b.au")
    assert (after.container, after.endian) == (container, before.endian)


def test_formats_that_are_unknown_to_libsndfile_are_refused_by_name(tmp_path: Path) -> None:
    for audio_format in (AudioFormat(RATE, 1, "MOV", "AAC"), AudioFormat(RATE, 1, "WAVEX", "PCM_16", "BIG")):
        with pytest.raises(
            AudioError, match=rf"x\.wav: can't write 48000 Hz, 1 channel\(s\) as {audio_format.container}"
        ):
            write(tmp_path / "x.wav", sound(), audio_format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [MOST_CHANNELS, MOST_CHANNELS + 1])
@pytest.mark.parametrize("container", ["WAV", "W64", "CAF"])
def test_files_have_as_many_channels_as_pipes(tmp_path: Path, container: str, channels: int) -> None:
    path = tmp_path / "many"
    sf.write(path, np.full((10, channels), 0.1), RATE, "PCM_16", format=container)
    if channels > MOST_CHANNELS:
        with pytest.raises(AudioError, match="many: expected 1 to 64 channels, got 65 channels"):
            read_format(path)
    else:
        assert read(path)[0].shape == (10, channels)


def test_rates_that_are_not_enhanced_are_refused(tmp_path: Path) -> None:
    sf.write(tmp_path / "slow.wav", sound(), 999)
    with pytest.raises(AudioError, match=r"slow\.wav: expected a sample rate of 1000 to 1000000 Hz, got one of 999 Hz"):
        read_format(tmp_path / "slow.wav")


def test_what_is_written_is_read() -> None:
    assert set(CONTAINERS) <= READ_SUFFIXES
    assert {".m4a", ".webm", ".mkv", ".amr", ".wma", ".mp4", ".aac", ".spx", ".mp2"} <= READ_SUFFIXES
    assert set(CONTAINERS.values()) <= set(WRITTEN)
