"""From file to file: rate, format, channels and length of the output are the input's, and every channel is by
itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.audio import AudioError, AudioFormat, read, read_format, write
from lite_rtse_ext.enhance import SEGMENT_FRAMES, enhance_file, enhance_waveform, wide_band
from lite_rtse_ext.enhance.spectra import BandGain
from lite_rtse_ext.signal import SIGNAL
from lite_rtse_ext.stream import Network, Streamer

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
    assert np.abs(read(tmp_path / "out.wav")[0] - samples).max() < 1e-5


class _LowHalf(reference.MaskResidual):
    def forward(self, spectrogram: Tensor, *_: Tensor) -> Tensor:
        return spectrogram * (torch.arange(257) < 160)[:, None, None]


class Muffling(Passing):
    """A network that passes what lies below 5 kHz."""

    reconstruction = _LowHalf


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
@pytest.mark.parametrize("limit", [None, 20.0])
def test_what_the_network_does_not_hear_has_the_gain_of_what_it_hears_last(
    tmp_path: Path, rate: int, limit: float | None
) -> None:
    time = np.arange(rate)[:, None] / rate
    low, top, high = (0.2 * np.sin(2 * np.pi * hz * time).astype(np.float32) for hz in (1000, 7000, 10_000))
    for model, samples, left in [
        (Passing(), low + top + high, low + top + high),
        (Muffling(), low + top + high, low),
        (Muffling(), low + top, low),
    ]:
        write(tmp_path / "in.wav", samples, AudioFormat(rate, 1, "WAV", "FLOAT"))
        enhance_file(
            model,
            tmp_path / "in.wav",
            tmp_path / "out.wav",
            overwrite=True,
            attenuation_limit_db=limit,
            high_pass=False,
        )
        share = 0 if limit is None else 10 ** (-limit / 20)
        expected = (1 - share) * left + share * samples
        middle = slice(rate // 10, -rate // 10)
        assert np.abs(read(tmp_path / "out.wav")[0] - expected)[middle].max() < 1e-3


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize("link", [False, True])
def test_linked_channels_keep_their_differences(tmp_path: Path, rate: int, link: bool) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (rate // 2, 1)).astype(np.float32)
    write(tmp_path / "in.wav", noise * np.float32([1, -0.1]), AudioFormat(rate, 2, "WAV", "FLOAT"))
    enhance_file(small_model(), tmp_path / "in.wav", tmp_path / "out.wav", link_channels=link, high_pass=False)
    left, right = read(tmp_path / "out.wav")[0].T
    assert np.abs(left).max() > 0.01
    assert (np.abs(right + 0.1 * left).max() < 1e-5) == link


@pytest.mark.parametrize("rate", [8000, 16_000, 22_255, 44_100, 96_000])
@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("options", [{}, {"wet": 0.7}, {"attenuation_limit_db": 10, "high_pass": False}], ids=str)
def test_a_file_has_the_samples_of_a_stream(
    tmp_path: Path, rate: int, link: bool, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide_band, "_PIECE_FRAMES", 5000)  # so that the output is of several pieces
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, (rate // 2 + 7, 2)).astype(np.float32)
    samples[:, 1] += 0.2
    write(tmp_path / "in.wav", samples, AudioFormat(rate, 2, "WAV", "FLOAT"))
    enhance_file(small_model(), tmp_path / "in.wav", tmp_path / "out.wav", link_channels=link, **options)
    network = Network.from_model(small_model())
    expected = []
    for block in [samples] if link else np.split(samples, 2, axis=1):
        streamer = Streamer(network, sample_rate=rate, channels=block.shape[1], **options)
        block = block if link else block[:, 0].copy()
        expected.append(np.concatenate([streamer.feed(block), streamer.flush()]).reshape(len(samples), -1))
    difference = read(tmp_path / "out.wav")[0] - np.concatenate(expected, axis=1)
    assert np.linalg.norm(difference) < 2e-5 * np.linalg.norm(samples)


@pytest.mark.parametrize("segment_frames", [None, 20])
def test_a_common_gain_is_that_of_equal_channels(segment_frames: int | None) -> None:
    one = torch.from_numpy(np.random.default_rng(0).uniform(-0.3, 0.3, 9000).astype(np.float32))
    want = enhance_waveform(small_model(), one, segment_frames=segment_frames)
    for sign in (1, -1):
        pair = torch.stack([one, sign * one])
        got = enhance_waveform(small_model(), pair, segment_frames=segment_frames, link_channels=True)
        torch.testing.assert_close(got, torch.stack([want, sign * want]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("segment_frames", [None, 20])
def test_the_gain_of_a_band_follows_a_rise_at_once_and_falls_by_half(segment_frames: int | None) -> None:
    time = torch.arange(32_000) / 16_000
    burst = torch.sin(2 * torch.pi * 7000 * time) * ((time > 0.5) & (time < 1.0))
    band = BandGain(slice(192, 257))
    steady = torch.sin(2 * torch.pi * 4000 * time)
    enhance_waveform(Muffling(), burst + steady, segment_frames=segment_frames, band=band, high_pass=False)
    assert band.at_samples(1.0, SIGNAL)[4000:6000].max() < 1e-3
    passing = BandGain(slice(192, 257))
    enhance_waveform(Passing(), burst, segment_frames=segment_frames, band=passing, high_pass=False)
    gain = passing.at_samples(1.0, SIGNAL)
    assert gain[8500:].min() > 0.999  # silence keeps the gain
    assert passing.at_samples(0.0, SIGNAL).min() == 1


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


@pytest.mark.parametrize("name", ["overwrite", "high_pass", "link_channels"])
@pytest.mark.parametrize("value", ["no", 2, 0, None], ids=str)
def test_switches_are_true_or_false(tmp_path: Path, name: str, value: object) -> None:
    write(tmp_path / "in.wav", sound(16_000, 0.1, 1), AudioFormat(16_000, 1, "WAV", "PCM_16"))
    options: dict[str, Any] = {name: value}
    with pytest.raises(TypeError, match=f"^{name}: expected True or False, got {value!r}$"):
        enhance_file(Passing(), tmp_path / "in.wav", tmp_path / "out.wav", **options)
    assert os.listdir(tmp_path) == ["in.wav"]
