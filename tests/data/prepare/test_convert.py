"""Audio of other kinds into prepared FLAC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.prepare.batch import Conversion, convert_all
from lite_rtse_ext.data.prepare.convert import decode, decode_bytes, is_complete, write_flac
from tests.data.prepare.corpus import RATE_HZ, clip_samples


def write_g722(path: Path, samples: np.ndarray) -> None:
    """Encode as G.722 without a header."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format="g722") as container:
        stream = container.add_stream("g722", rate=RATE_HZ)
        stream.layout = "mono"
        pcm = (samples * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    size = min(len(a), len(b))
    return float(np.corrcoef(a[:size], b[:size])[0, 1])


def test_g722_is_decoded(tmp_path: Path) -> None:
    samples = clip_samples("it-dir-instr")
    write_g722(tmp_path / "a.g722", samples)
    decoded = decode(tmp_path / "a.g722")
    assert decoded.dtype == np.float32
    assert abs(len(decoded) - len(samples)) <= 640
    delays = [correlation(decoded[delay:], samples) for delay in range(64)]
    assert max(delays) > 0.98  # the codec is lossy and late by some samples


def test_empty_g722_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.g722").touch()
    with pytest.raises(AudioError, match=r"a\.g722: the file is empty"):
        decode(tmp_path / "a.g722")


def test_channels_and_rates_become_mono_at_16_khz(tmp_path: Path) -> None:
    time = np.arange(48_000) / 48_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    sf.write(tmp_path / "a.wav", np.stack([tone, np.zeros_like(tone)], axis=1), 48_000, subtype="FLOAT")
    samples = decode(tmp_path / "a.wav")
    want = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert len(samples) == 16_000
    np.testing.assert_allclose(samples[200:-200], want[200:-200], atol=1e-3)
    np.testing.assert_array_equal(samples, decode_bytes((tmp_path / "a.wav").read_bytes(), "a.wav"))


def test_bytes_that_are_no_audio_are_refused() -> None:
    with pytest.raises(AudioError, match="bell: not audio"):
        decode_bytes(b"RIFF....", "bell")


def test_flac_is_written_whole_and_within_full_scale(tmp_path: Path) -> None:
    samples = np.linspace(-2, 2, 1000, dtype=np.float32)
    write_flac(tmp_path / "a.flac", samples)
    read, rate = sf.read(tmp_path / "a.flac")
    assert rate == RATE_HZ
    np.testing.assert_allclose(read, samples / 2 * 0.999, atol=1e-4)
    assert is_complete(tmp_path / "a.flac", 1000)
    assert not is_complete(tmp_path / "a.flac", 999)
    assert not is_complete(tmp_path / "b.flac", 1000)
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    assert not is_complete(tmp_path / "a.flac", 1000)


def damaged_jobs(folder: Path) -> list[Conversion]:
    """A good file, one of nonsense, one that isn't there."""
    sf.write(folder / "good.wav", np.sin(np.arange(480)), 48_000)
    (folder / "bad.wav").write_bytes(b"nonsense")
    return [Conversion(folder / f"{name}.wav", folder / "out" / f"{name}.flac") for name in ("good", "bad", "gone")]


def test_damaged_files_are_named_and_left_out(tmp_path: Path) -> None:
    lines: list[str] = []
    assert convert_all(damaged_jobs(tmp_path), refuse=False, report=lines.append) == [160, None, None]
    assert len(lines) == 2
    assert "bad.wav" in lines[0]
    assert "gone.wav" in lines[1]


@pytest.mark.parametrize(("index", "kind"), [(1, AudioError), (2, FileNotFoundError)])
def test_damaged_files_are_refused_if_asked(tmp_path: Path, index: int, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        convert_all([damaged_jobs(tmp_path)[index]], refuse=True, report=print)


def test_converted_files_are_kept(tmp_path: Path) -> None:
    job = damaged_jobs(tmp_path)[0]
    convert_all([job], refuse=True, report=print)
    before = job.target.stat().st_mtime_ns
    assert convert_all([job], refuse=True, report=print) == [160]
    assert job.target.stat().st_mtime_ns == before


def test_a_flac_that_states_no_length_is_converted_whole(tmp_path: Path) -> None:
    sf.write(tmp_path / "in.flac", 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ), RATE_HZ)
    data = bytearray((tmp_path / "in.flac").read_bytes())
    data[22:26] = bytes(4)  # the low 32 of the 36 bits that count samples, of which the upper four are zero
    (tmp_path / "in.flac").write_bytes(data)
    job = Conversion(tmp_path / "in.flac", tmp_path / "out.flac")
    for _ in range(2):
        assert convert_all([job], refuse=True, report=print, workers=1) == [RATE_HZ]
