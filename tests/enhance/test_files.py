"""From file to file: rate, format, channels and length of the output are the input's, and every channel is by
itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.audio import AudioError, AudioFormat, read, read_format, write
from lite_rtse_ext.enhance import SEGMENT_FRAMES, enhance_file, enhance_waveform

CONTAINERS = [
    ("WAV", "PCM_16", ".wav"),
    ("WAV", "PCM_24", ".wav"),
    ("WAV", "FLOAT", ".wav"),
    ("FLAC", "PCM_24", ".flac"),
    ("OGG", "VORBIS", ".ogg"),
    ("MP3", "MPEG_LAYER_III", ".mp3"),
]


def small_model() -> reference.LiteRTSE:
    torch.manual_seed(0)
    return reference.LiteRTSE(channels=4, order=2).eval()


class _Unchanged(reference.MaskResidual):
    def forward(self, spectrogram: Tensor, *_: Tensor) -> Tensor:
        return spectrogram


class Passing(reference.LiteRTSE):
    """A network that leaves the spectrogram as it is: what is left to see is the way in and out."""

    reconstruction = _Unchanged

    def __init__(self) -> None:
        super().__init__(channels=4, order=2)


def sound(rate: int, seconds: float, channels: int) -> np.ndarray:
    time = np.arange(round(rate * seconds))[:, None] / rate
    return (0.3 * np.sin(2 * np.pi * (300 + 200 * np.arange(channels)) * time)).astype(np.float32)


@pytest.mark.parametrize(("container", "subtype", "suffix"), CONTAINERS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_output_is_like_the_input(
    tmp_path: Path, container: str, subtype: str, suffix: str, rate: int, channels: int
) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write(source, sound(rate, 0.3217, channels), AudioFormat(rate, channels, container, subtype))
    result = enhance_file(small_model(), source, target)
    assert read_format(target) == read_format(source)
    assert len(read(target)[0]) == round(rate * 0.3217)
    assert result.audio_seconds == pytest.approx(0.3217, abs=1e-3)
    assert result.real_time_factor == result.elapsed_seconds / result.audio_seconds > 0


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_the_way_in_and_out_changes_nothing(tmp_path: Path, rate: int) -> None:
    samples = sound(rate, 0.5, 2)
    write(tmp_path / "in.wav", samples, AudioFormat(rate, 2, "WAV", "FLOAT"))
    enhance_file(Passing(), tmp_path / "in.wav", tmp_path / "out.wav", high_pass=False)
    middle = slice(rate // 20, -rate // 20)
    assert np.abs(read(tmp_path / "out.wav")[0] - samples)[middle].max() < 1e-3


def test_nothing_above_8_khz_is_left(tmp_path: Path) -> None:
    rate = 44_100
    samples = (0.3 * np.sin(2 * np.pi * 12_000 * np.arange(rate) / rate)).astype(np.float32)
    write(tmp_path / "in.wav", samples[:, None], AudioFormat(rate, 1, "WAV", "FLOAT"))
    enhance_file(Passing(), tmp_path / "in.wav", tmp_path / "out.wav")
    assert np.abs(read(tmp_path / "out.wav")[0])[2000:-2000].max() < 1e-3


def test_every_channel_is_enhanced_by_itself(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, (5000, 3)).astype(np.float32)
    write(tmp_path / "in.wav", samples, AudioFormat(16_000, 3, "WAV", "FLOAT"))
    model = small_model()
    enhance_file(model, tmp_path / "in.wav", tmp_path / "out.wav")
    got = read(tmp_path / "out.wav")[0]
    for channel in range(3):
        one = torch.from_numpy(samples[:, channel].copy())
        want = enhance_waveform(model, one, segment_frames=SEGMENT_FRAMES)
        np.testing.assert_array_equal(got[:, channel], want.numpy())


def test_another_suffix_is_another_format(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", sound(16_000, 0.2, 1), AudioFormat(16_000, 1, "WAV", "PCM_24"))
    enhance_file(small_model(), tmp_path / "in.wav", tmp_path / "out.flac")
    assert read_format(tmp_path / "out.flac") == AudioFormat(16_000, 1, "FLAC", "PCM_24", frames=3200)


def test_progress_adds_up_to_the_file(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", sound(44_100, 0.5, 2), AudioFormat(44_100, 2, "WAV", "PCM_16"))
    steps: list[float] = []
    enhance_file(small_model(), tmp_path / "in.wav", tmp_path / "out.wav", progress=steps.append)
    assert sum(steps) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("link", ["same", "symbolic", "hard", "roundabout"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_input_is_never_overwritten(tmp_path: Path, link: str, overwrite: bool) -> None:
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    write(source, sound(16_000, 0.2, 1), AudioFormat(16_000, 1, "WAV", "PCM_16"))
    before = source.read_bytes()
    if link == "same":
        target = source
    elif link == "symbolic":
        target.symlink_to(source)
    elif link == "hard":
        os.link(source, target)
    else:
        (tmp_path / "folder").mkdir()
        target = tmp_path / "folder" / ".." / "in.wav"
    with pytest.raises(AudioError, match="is the input itself, which is never overwritten"):
        enhance_file(small_model(), source, target, overwrite=overwrite)
    assert source.read_bytes() == before


def test_an_output_is_replaced_only_when_allowed(tmp_path: Path) -> None:
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    write(source, sound(16_000, 0.2, 1), AudioFormat(16_000, 1, "WAV", "PCM_16"))
    target.write_text("precious")
    with pytest.raises(FileExistsError, match=r"out\.wav"):
        enhance_file(small_model(), source, target)
    assert target.read_text() == "precious"
    enhance_file(small_model(), source, target, overwrite=True)
    assert read_format(target).frames == 3200


def test_a_bad_input_leaves_no_output(tmp_path: Path) -> None:
    samples = sound(16_000, 0.2, 1)
    samples[100] = np.nan
    sf.write(tmp_path / "in.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="sample 100 of channel 0 is nan"):
        enhance_file(small_model(), tmp_path / "in.wav", tmp_path / "out.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.parametrize(("container", "subtype", "suffix"), [("WAV", "FLOAT", ".wav"), ("FLAC", "PCM_24", ".flac")])
def test_a_result_that_is_not_finite_leaves_no_output(
    tmp_path: Path, container: str, subtype: str, suffix: str
) -> None:
    source = tmp_path / f"in{suffix}"
    write(source, sound(16_000, 0.2, 1), AudioFormat(16_000, 1, container, subtype))
    model = small_model()
    with torch.no_grad():
        model.fc1.bias[3] = torch.nan
    with pytest.raises(AudioError, match=f"in{suffix}: the network's result is not finite"):
        enhance_file(model, source, tmp_path / f"out{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [source.name]
