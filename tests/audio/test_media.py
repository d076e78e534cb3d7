"""What libsndfile doesn't read: through PyAV, block by block, and in words where that is not installed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext.audio import AudioError, AudioFormat, AudioWarning, read, read_blocks, read_format
from lite_rtse_ext.audio.formats import CONTAINERS
from lite_rtse_ext.audio.io import open_pipe
from lite_rtse_ext.enhance.conversion import file_to_file

av = pytest.importorskip("av", reason="needs PyAV: pip install 'lite-rtse-ext[media]'")

# suffix, FFmpeg's names of container and coder, rate, sample type that is said to be in it, whether nothing is lost
KINDS = [
    (".m4a", "ipod", "aac", 44_100, "AAC", False),
    (".aac", "adts", "aac", 16_000, "AAC", False),
    (".mp4", "mp4", "aac", 48_000, "AAC", False),
    (".webm", "webm", "libopus", 48_000, "OPUS", False),
    (".mka", "matroska", "flac", 16_000, "PCM_16", True),
    (".oga", "ogg", "flac", 16_000, "PCM_16", True),
    (".m4a", "ipod", "alac", 48_000, "PCM_16", True),
    (".wav", "wav", "pcm_s64le", 16_000, "PCM_24", True),
    (".mov", "mov", "pcm_f32le", 16_000, "FLOAT", True),
    (".wv", "wv", "wavpack", 16_000, "PCM_16", True),
    (".wma", "asf", "wmav2", 44_100, "WMAV2", False),
    (".mp2", "mp2", "mp2", 44_100, "MPEG_LAYER_II", False),
]


def sound(frames: int, channels: int) -> np.ndarray:
    phase = np.arange(frames)[:, None] * (0.03 + 0.02 * np.arange(channels))
    return (0.5 * np.sin(phase)).astype(np.float32)


def encoded(path: Path, container: str, coder: str, rate: int, samples: np.ndarray, video: bool = False) -> Path:
    """A file that PyAV writes."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path), "w", format=container) as out:
        if video:
            pictures = out.add_stream("mpeg4", rate=25)
            pictures.width = pictures.height = 64
            picture = av.VideoFrame(64, 64, "yuv420p")
            picture.pts = 0
        stream = out.add_stream(coder, rate=rate)
        stream.layout, stream.bit_rate = layout, 96_000
        kind = next((each for each in stream.codec_context.codec.audio_formats if each.name in ("s16", "s16p")), None)
        stream.format = kind or stream.codec_context.codec.audio_formats[0]
        stream.open()
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", layout)
        frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        cutter = av.AudioResampler(stream.format, layout, rate, stream.frame_size or 1024)
        for piece in [*cutter.resample(frame), *cutter.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
        if video:
            out.mux([*pictures.encode(picture), *pictures.encode(None)])
    return path


def plainly_decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt")
        frames = [piece.to_ndarray() for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    return np.concatenate(frames, axis=1).reshape(-1)


@pytest.mark.parametrize(("suffix", "container", "coder", "rate", "subtype", "exact"), KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_it_is_what_pyav_decodes(
    tmp_path: Path, suffix: str, container: str, coder: str, rate: int, subtype: str, exact: bool, channels: int
) -> None:
    samples = sound(rate // 2 + 1, channels)
    path = encoded(tmp_path / f"in{suffix}", container, coder, rate, samples)
    got, found = read(path)
    assert (found.sample_rate, found.channels, found.subtype, found.frames) == (rate, channels, subtype, len(got))
    if suffix != ".mp2":  # which libsndfile reads
        np.testing.assert_array_equal(got.reshape(-1), plainly_decoded(path))
        assert read_format(path).seconds == pytest.approx(0.5, abs=0.15)
    if exact:
        assert np.abs(got - samples).max() <= 2**-14
    assert all(len(block) <= 1000 for block in read_blocks(path, 1000))
    with ExitStack() as stack:
        piped = open_pipe(io.BytesIO(path.read_bytes()), None, "-", stack)
        np.testing.assert_array_equal(np.concatenate(list(piped.blocks())), got)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_opus_in_mp4_is_as_early_as_in_webm(tmp_path: Path, rate: int, channels: int) -> None:
    samples = sound(rate, channels)
    in_time, _ = read(encoded(tmp_path / "in.webm", "webm", "libopus", rate, samples))
    got, found = read(encoded(tmp_path / "in.mp4", "mp4", "libopus", rate, samples))
    assert (found.sample_rate, found.frames) == (48_000, len(got))
    assert len(got) >= len(in_time) == 48_000
    tick = 48_000 // rate  # of the time stamps in MP4
    assert any(np.array_equal(got[late:][:47_000], in_time[:47_000]) for late in range(tick // 2 + 1))


@pytest.mark.parametrize(
    ("container", "coder", "rate", "late"),
    [
        *((container, "aac", 16_000, 1024) for container in ("adts", "mpegts", "flv", "avi", "asf")),
        *((container, "libmp3lame", 16_000, 1105) for container in ("mpegts", "avi", "asf")),
        *((container, "mp2", rate, 481) for container in ("mp2", "mpegts", "avi") for rate in (16_000, 48_000)),
        *((container, "ac3", 48_000, 256) for container in ("ac3", "mpegts", "avi")),
        ("ac3", "ac3", 32_000, 256),
        ("mpegts", "libopus", 48_000, 312),
        *(("asf", "wmav2", rate, -late) for rate, late in ((16_000, 512), (44_100, 2048), (48_000, 2048))),
        *((container, coder, 16_000, 0) for container in ("mp4", "matroska") for coder in ("aac", "libmp3lame", "mp2")),
        *((container, "ac3", 48_000, 0) for container in ("mp4", "matroska")),
        *((container, "libopus", 48_000, 0) for container in ("ogg", "webm")),
        ("mp3", "libmp3lame", 16_000, 0),
    ],
)
def test_sound_is_late_where_the_container_does_not_tell_the_delay(
    tmp_path: Path, container: str, coder: str, rate: int, late: int
) -> None:
    """docs/limits.md says so."""
    noise = np.convolve(np.random.default_rng(0).standard_normal(rate), np.hanning(rate // 400), "same")
    samples = (0.05 * noise)[:, None].astype(np.float32)
    got = read(encoded(tmp_path / "in", container, coder, rate, samples))[0][:rate, 0]
    size = 131_072
    spectra = [np.fft.rfft(each, size) for each in (got, samples[:, 0])]
    shift = int(np.argmax(np.fft.irfft(spectra[0] * spectra[1].conj())))
    assert (shift if shift < size // 2 else shift - size) == late


@pytest.mark.filterwarnings("ignore::lite_rtse_ext.audio.AudioWarning")
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_it_becomes_every_format(tmp_path: Path, suffix: str) -> None:
    source = encoded(tmp_path / "in.m4a", "ipod", "aac", 48_000, sound(20_000, 2))
    file_to_file(source, tmp_path / f"out{suffix}", False, lambda reader: reader.blocks())
    got, found = read(tmp_path / f"out{suffix}")
    assert (len(got), found.sample_rate, found.channels) == (len(read(source)[0]), 48_000, 2)


@pytest.mark.parametrize("suffix", [".m4a", ".webm", ".mkv", ".wma"])
def test_what_is_read_only_is_not_written(tmp_path: Path, suffix: str) -> None:
    source = encoded(tmp_path / "in.mka", "matroska", "flac", 16_000, sound(1000, 1))
    source = source.rename(tmp_path / f"in{suffix}")
    with pytest.raises(AudioError, match=rf"out\{suffix}: \{suffix} is read but not written, use one of \.wav \.w64"):
        file_to_file(source, tmp_path / f"out{suffix}", False, lambda reader: reader.blocks())
    assert os.listdir(tmp_path) == [source.name]


def test_the_sound_of_a_video(tmp_path: Path) -> None:
    path = encoded(tmp_path / "in.mkv", "matroska", "flac", 16_000, sound(5000, 1), video=True)
    assert np.abs(read(path)[0] - sound(5000, 1)).max() <= 2**-14


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "mute.mkv"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        out.mux([*stream.encode(av.VideoFrame(64, 64, "yuv420p")), *stream.encode(None)])
    with pytest.raises(AudioError, match=r"mute\.mkv: not an audio file that can be read here: there is no sound"):
        read(tmp_path / "mute.mkv")


def test_tags_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "in.mka"
    encoded(path, "matroska", "flac", 16_000, sound(1000, 1))
    with av.open(str(path)) as source, av.open(str(tmp_path / "tagged.mka"), "w") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        out.metadata.update({"title": "Füße", "artist": "Nobody", "encoder": "x"})
        for packet in source.demux(audio=0):
            packet.stream = stream
            if packet.dts is not None:
                out.mux(packet)
    assert read_format(tmp_path / "tagged.mka").tags == {"title": "Füße", "artist": "Nobody"}


def test_a_playlist_opens_nothing_else(tmp_path: Path) -> None:
    encoded(tmp_path / "secret.aac", "adts", "aac", 16_000, sound(16_000, 1))
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:10", "#EXTINF:10,", "secret.aac", "#EXT-X-ENDLIST", ""]
    (tmp_path / "list.m3u8").write_text("\n".join(lines))
    with pytest.raises(AudioError, match=r"list\.m3u8: "):
        read(tmp_path / "list.m3u8")


def test_what_nobody_reads_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(50_000)
    for name, data in (
        ("a.m4a", noise),
        ("b.mp3", bytes(50_000)),
        ("c.mkv", b"\x1aE\xdf\xa3" + noise),
        ("d.aac", b"text"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(AudioError, match=f"{name}: "):
            read(tmp_path / name)


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encoded(tmp_path / "in.m4a", "ipod", "aac", 16_000, sound(1000, 1))
    sf.write(tmp_path / "in.wav", sound(1000, 1), 16_000)
    monkeypatch.setattr("lite_rtse_ext.audio.io.has_av", lambda: False)
    with pytest.raises(AudioError, match=r"in\.m4a: .* package av: pip install 'lite-rtse-ext\[media\]'"):
        read(path)
    assert len(read(tmp_path / "in.wav")[0]) == 1000


def test_what_is_cut_off_is_read_to_its_end(tmp_path: Path) -> None:
    path = encoded(tmp_path / "in.aac", "adts", "aac", 16_000, sound(80_000, 1))
    whole, data = len(read(path)[0]), path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.warns(AudioWarning, match=r"in\.aac: what follows after 3\.\d\d s can't be decoded"):
        assert whole // 2 < len(read(path)[0]) < whole


def test_a_damaged_middle_is_refused(tmp_path: Path) -> None:
    path = encoded(tmp_path / "in.mka", "matroska", "aac", 16_000, sound(80_000, 1))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = b"\x55" * 600
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"in\.mka: damaged"):
        read(path)


@pytest.mark.parametrize("kind", ["tags", "frame"])
def test_an_mp3_that_libsndfile_refuses_is_read(tmp_path: Path, kind: str) -> None:
    """Two tags one after another, or a first frame that is damaged."""
    path = tmp_path / "in.mp3"
    sf.write(path, sound(50_000, 1), 44_100)
    data = path.read_bytes()
    tag = b"ID3\x04\0\0\0\0\x02\0" + b"TIT2\0\0\0\x05\0\0\0Song" + bytes(241)
    path.write_bytes(2 * tag + data if kind == "tags" else data[:4] + bytes(600) + data)
    assert len(read(path)[0]) == pytest.approx(50_000, abs=2400)


PEAK = """
import sys
from lite_rtse_ext.audio import read_blocks
print(sum(len(block) for block in read_blocks(sys.argv[1])))
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for seconds in (10, 300):
        path = encoded(tmp_path / f"{seconds}.mka", "matroska", "flac", 16_000, sound(16_000 * seconds, 1))
        done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True)
        frames, peak = map(int, done.stdout.split())
        assert frames == 16_000 * seconds
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 4 * 1024  # KiB; as floats five minutes take 19 MB


def test_a_coding_that_loses_something_becomes_16_bits() -> None:
    with pytest.warns(AudioWarning, match="AAC is not written in WAV: PCM_16 is written instead"):
        assert AudioFormat(16_000, 1, "MOV", "AAC").within("WAV").subtype == "PCM_16"


def test_layer_2_becomes_layer_3_and_says_so(tmp_path: Path) -> None:
    source = encoded(tmp_path / "in.mp2", "mp2", "mp2", 44_100, sound(20_000, 1))
    with pytest.warns(AudioWarning, match="MPEG_LAYER_II is not written in MP3: MPEG_LAYER_III is written instead"):
        file_to_file(source, tmp_path / "out.mp2", False, lambda reader: reader.blocks())
    assert len(read(tmp_path / "out.mp2")[0]) == len(read(source)[0])
