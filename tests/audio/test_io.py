"""Audio files: what goes in comes out, in every format; bad files are refused by name; files appear complete or not
at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext.audio import AudioError, AudioFormat, read, read_blocks, read_format, write
from lite_rtse_ext.audio.io import BLOCK_FRAMES, CONTAINERS, writer
from tests.utils.full_disk import full_disk

# suffix, container, subtype, rate, largest error of a half-scale noise; None for lossy coding, which only keeps it
# roughly
FORMATS = [
    (".wav", "WAV", "PCM_U8", 8_000, 2**-6),
    (".wav", "WAV", "PCM_16", 44_100, 2**-14),
    (".wav", "WAV", "PCM_24", 48_000, 2**-22),
    (".wav", "WAV", "PCM_32", 48_000, 2**-23),
    (".wav", "WAV", "FLOAT", 96_000, 0.0),
    (".wav", "WAV", "DOUBLE", 16_000, 0.0),
    (".wav", "WAVEX", "PCM_24", 48_000, 2**-22),
    (".w64", "W64", "PCM_16", 16_000, 2**-14),
    (".rf64", "RF64", "PCM_16", 16_000, 2**-14),
    (".flac", "FLAC", "PCM_16", 44_100, 2**-14),
    (".flac", "FLAC", "PCM_24", 96_000, 2**-22),
    (".aiff", "AIFF", "PCM_16", 44_100, 2**-14),
    (".caf", "CAF", "PCM_16", 44_100, 2**-14),
    (".au", "AU", "PCM_16", 8_000, 2**-14),
    (".wav", "WAV", "ULAW", 8_000, None),
    (".ogg", "OGG", "VORBIS", 44_100, None),
    (".ogg", "OGG", "VORBIS", 16_000, None),
    (".opus", "OGG", "OPUS", 48_000, None),
    (".mp3", "MP3", "MPEG_LAYER_III", 44_100, None),
    (".mp3", "MP3", "MPEG_LAYER_III", 16_000, None),
]


def sound(frames: int, channels: int) -> np.ndarray:
    """Tones of another pitch in every channel, which lossy coders keep well."""
    phase = np.arange(frames)[:, None] * (0.03 + 0.02 * np.arange(channels))
    return (0.5 * np.sin(phase)).astype(np.float32)


def wav(path: Path, samples: np.ndarray, rate: int = 16_000, subtype: str = "FLOAT") -> Path:
    sf.write(path, samples, rate, subtype=subtype)
    return path


@pytest.mark.parametrize(("suffix", "container", "subtype", "rate", "error"), FORMATS)
@pytest.mark.parametrize("frames", [1, 12_345, 2 * BLOCK_FRAMES + 1])
@pytest.mark.parametrize("channels", [1, 2])
def test_round_trip(
    tmp_path: Path,
    suffix: str,
    container: str,
    subtype: str,
    rate: int,
    error: float | None,
    frames: int,
    channels: int,
) -> None:
    path = tmp_path / f"sound{suffix}"
    samples = sound(frames, channels)
    write(path, samples, AudioFormat(rate, channels, container, subtype))
    got, audio_format = read(path)
    assert (audio_format.container, audio_format.subtype) == (container, subtype)
    assert (audio_format.sample_rate, audio_format.channels, audio_format.frames) == (rate, channels, frames)
    assert got.shape == samples.shape
    assert got.dtype == np.float32
    if error is not None:
        assert np.abs(got - samples).max() <= error
    elif frames > 1:
        for channel in range(channels):
            assert np.corrcoef(got[:, channel], samples[:, channel])[0, 1] > 0.99
    # what was read describes a file that can be written again
    write(path, got, audio_format)
    again = read_format(path)
    assert (again.container, again.subtype, again.frames) == (container, subtype, frames)


def test_many_channels(tmp_path: Path) -> None:
    samples = sound(1000, 6)
    write(tmp_path / "six.wav", samples, AudioFormat(48_000, 6, "WAV", "FLOAT"))
    np.testing.assert_array_equal(read(tmp_path / "six.wav")[0], samples)


def test_blocks_are_the_file(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", sound(1000, 2))
    blocks = list(read_blocks(path, 300))
    assert [len(block) for block in blocks] == [300, 300, 300, 100]
    np.testing.assert_array_equal(np.concatenate(blocks), sound(1000, 2))


def test_integer_formats_clip(tmp_path: Path) -> None:
    write(tmp_path / "loud.wav", np.array([[2.0], [-2.0]], dtype=np.float32), AudioFormat(16_000, 1, "WAV", "PCM_16"))
    np.testing.assert_allclose(read(tmp_path / "loud.wav")[0][:, 0], [1.0, -1.0], atol=2**-14)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff"])
def test_tags_are_kept(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "tagged.flac"
    with sf.SoundFile(source, "w", 16_000, 1) as file:
        file.title, file.artist = "Füße", "Nobody"
        file.write(sound(100, 1))
    target = tmp_path / f"copy{suffix}"
    samples, audio_format = read(source)
    write(target, samples, audio_format.renamed(target, source))
    assert read_format(target).tags == {"title": "Füße", "artist": "Nobody"}


@pytest.mark.filterwarnings("ignore::lite_rtse_ext.audio.AudioWarning")
@pytest.mark.parametrize(
    ("source", "subtype", "target", "expected"),
    [
        ("a.wav", "PCM_24", "b.wav", ("WAV", "PCM_24")),
        ("a.wav", "PCM_24", "b.flac", ("FLAC", "PCM_24")),
        ("a.wav", "PCM_16", "b.flac", ("FLAC", "PCM_16")),
        ("a.wav", "FLOAT", "b.flac", ("FLAC", "PCM_24")),
        ("a.wav", "FLOAT", "b.aiff", ("AIFF", "FLOAT")),
        ("a.wav", "PCM_U8", "b.flac", ("FLAC", "PCM_16")),
        ("a.flac", "PCM_24", "b.wav", ("WAV", "PCM_24")),
        ("a.flac", "PCM_16", "b.mp3", ("MP3", "MPEG_LAYER_III")),
        ("a.flac", "PCM_16", "b.OGG", ("OGG", "VORBIS")),
        ("a.flac", "PCM_16", "b.opus", ("OGG", "OPUS")),
        ("a.ogg", "VORBIS", "b.wav", ("WAV", "PCM_16")),
        ("a.ogg", "VORBIS", "b.oga", ("OGG", "VORBIS")),
    ],
)
def test_renamed_keeps_the_depth_it_can(source: str, subtype: str, target: str, expected: tuple[str, str]) -> None:
    before = AudioFormat(48_000, 2, CONTAINERS[Path(source).suffix], subtype, tags={"title": "x"})
    after = before.renamed(Path(target), Path(source))
    assert (after.container, after.subtype) == expected
    assert (after.sample_rate, after.channels, after.tags) == (48_000, 2, {"title": "x"})


def test_unknown_suffix_is_refused() -> None:
    with pytest.raises(AudioError, match=r"b\.xyz: unknown kind of audio file, use one of \.wav"):
        AudioFormat(16_000, 1, "WAV", "PCM_16").renamed(Path("b.xyz"), Path("a.wav"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    samples = sound(BLOCK_FRAMES + 100, 2)
    samples[BLOCK_FRAMES + 7, 1] = value
    path = wav(tmp_path / "bad.wav", samples)
    with pytest.raises(AudioError, match=rf"bad\.wav: sample {BLOCK_FRAMES + 7} of channel 1 is {value}"):
        read(path)


def test_files_that_are_no_audio_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("Not a sound.")
    (tmp_path / "headerless.raw").write_bytes(b"12345678")
    wav(tmp_path / "silent.wav", np.zeros((0, 1), dtype=np.float32))
    for name, words in [
        ("empty.wav", "the file is empty"),
        ("text.wav", "not an audio file"),
        ("headerless.raw", "not an audio file"),
        ("silent.wav", "holds no samples"),
    ]:
        with pytest.raises(AudioError, match=f"{name}: .*{words}"):
            read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"missing\.wav"):
        read(tmp_path / "missing.wav")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    sf.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 50_000), 16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match=r"cut\.flac: damaged"):
        read(path)


def test_what_a_format_can_not_hold_is_refused(tmp_path: Path) -> None:
    for name, audio_format, words in [
        ("a.opus", AudioFormat(44_100, 1, "OGG", "OPUS"), "44100 Hz, 1 channel"),
        ("a.ogg", AudioFormat(200_001, 1, "OGG", "VORBIS"), "200001 Hz, 1 channel.* at most 200000 Hz"),
        ("a.mp3", AudioFormat(44_100, 3, "MP3", "MPEG_LAYER_III"), "3 channel"),
        ("a.flac", AudioFormat(44_100, 9, "FLAC", "PCM_16"), "9 channel"),
        ("a.caf", AudioFormat(44_100, 1, "CAF", "ALAC_20"), "ALAC_20 is not written in CAF: libsndfile damages"),
        ("b.caf", AudioFormat(44_100, 1, "CAF", "ALAC_24"), "ALAC_24 is not written in CAF: libsndfile damages"),
        ("c.caf", AudioFormat(44_100, 1, "CAF", "ALAC_32"), "ALAC_32 is not written in CAF: libsndfile damages"),
    ]:
        with pytest.raises(AudioError, match=f"{name}: can't write .*{words}"):
            write(tmp_path / name, sound(100, audio_format.channels), audio_format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_a_full_disk_is_the_systems_error(tmp_path: Path, container: str) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (50_000, 1)).astype(np.float32)
    audio_format = AudioFormat(16_000, 1, container, sf.default_subtype(container))
    with pytest.raises(OSError, match="can't be written") as caught, full_disk(5000):
        write(tmp_path / "a", noise, audio_format)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "a"))
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", sound(100, 1))
    before = path.read_bytes()

    def interrupted() -> None:
        with writer(path, read_format(path)) as file:
            file.write(sound(50, 1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.wav"]


def test_a_file_has_its_name_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with writer(path, AudioFormat(16_000, 1, "WAV", "PCM_16")) as file:
        file.write(sound(50, 1))
        assert not path.exists()
        assert [entry.suffix for entry in tmp_path.iterdir()] == [".part"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.wav"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.wav", sound(10, 1), AudioFormat(16_000, 1, "WAV", "PCM_16"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    wav(tmp_path / "real.wav", sound(10, 1))
    (tmp_path / "link.wav").symlink_to(tmp_path / "real.wav")
    write(tmp_path / "link.wav", sound(20, 1), read_format(tmp_path / "real.wav"))
    assert (tmp_path / "link.wav").is_symlink()
    assert read_format(tmp_path / "real.wav").frames == 20


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write(tmp_path / "nowhere" / "a.wav", sound(10, 1), AudioFormat(16_000, 1, "WAV", "PCM_16"))


def test_an_mp3_survives_samples_far_above_full_scale(tmp_path: Path) -> None:
    """In a process of its own: the encoder would end it."""
    script = "import sys, numpy as np; from lite_rtse_ext.audio import AudioFormat, write\n"
    script += "x = (1e10 * np.random.default_rng(0).standard_normal((40_000, 1))).astype(np.float32)\n"
    script += "write(sys.argv[1], x, AudioFormat(16_000, 1, 'MP3', 'MPEG_LAYER_III'))"
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "loud.mp3"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert np.isfinite(read(tmp_path / "loud.mp3")[0]).all()
