"""The high-pass in front of the network: its formula, what it leaves of speech, and that an offset changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.audio import AudioFormat, high_pass, read, remove_offset, write
from lite_rtse_ext.enhance import enhance_file, enhance_waveform
from lite_rtse_ext.stream import Network, Streamer

SPEECH = sorted((Path(__file__).parents[2] / "examples" / "clips").glob("*/speech/*.flac"))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plainly(samples: Tensor) -> Tensor:
    """The recursion, one sample after another."""
    kept = 1 - 2 * math.pi * high_pass.HIGH_PASS_HZ / 16_000
    mean = weight = 0.0
    result = []
    for sample in samples.tolist():
        weight = kept * weight + 1
        mean += (sample - mean) / weight
        result.append(sample - mean)
    return torch.tensor(result, dtype=torch.float64)


@pytest.mark.parametrize("samples", [1, 2, 255, 256, 257, 512, 1000, 5000])
@pytest.mark.parametrize("rows_a_block", [1, 2, 7, 256])
def test_it_is_the_recursion(samples: int, rows_a_block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(high_pass, "_BLOCK", rows_a_block * 256)
    waveform = 0.3 + noise(samples)
    torch.testing.assert_close(remove_offset(waveform), plainly(waveform), rtol=0, atol=1e-14)


@pytest.mark.parametrize("samples", [1, 300, 70_000])
@pytest.mark.parametrize("constant", [0.0, 1e-3, 0.3, -1.0, 1e10])
def test_a_constant_is_exactly_zero(samples: int, constant: float) -> None:
    assert not remove_offset(torch.full((samples,), constant)).any()


@pytest.mark.parametrize("hertz", [0.5, 2.0, 10.0, 50.0, 200.0])
def test_its_response_is_that_of_a_first_order(hertz: float) -> None:
    tone = torch.exp(2j * math.pi * hertz * torch.arange(64_000, dtype=torch.float64) / 16_000)
    ratio = (torch.complex(remove_offset(tone.real), remove_offset(tone.imag)) / tone)[-1]
    wanted = 1j * hertz / (1j * hertz + high_pass.HIGH_PASS_HZ)
    assert abs(complex(ratio) - wanted) < 2e-3


def test_no_sample_hears_the_future() -> None:
    waveform = noise(70_000)
    changed = waveform.clone()
    changed[66_000:] += 1
    assert torch.equal(remove_offset(waveform)[:66_000], remove_offset(changed)[:66_000])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(700,), (2, 3, 700), (0,), (0, 300), (3, 0)])
def test_shape_and_dtype_stay(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    waveform = noise(*shape).to(dtype)
    filtered = remove_offset(waveform)
    assert (filtered.shape, filtered.dtype) == (waveform.shape, dtype)
    assert filtered.data_ptr() != waveform.data_ptr() or not filtered.numel()


def test_waveforms_are_filtered_one_by_one() -> None:
    channels = noise(3000, 2)  # as a file's, which lie side by side
    channels[:, 1] += 1
    for channel in channels.T:
        torch.testing.assert_close(remove_offset(channels.T)[int(channel[0] > 0.5)], remove_offset(channel))


def si_snr_db(estimate: Tensor, target: Tensor) -> float:
    part = (estimate @ target) / (target @ target) * target
    return float(20 * torch.log10(part.norm() / (estimate - part).norm()))


@pytest.mark.parametrize("path", SPEECH, ids=lambda path: path.stem)
def test_speech_goes_through(path: Path) -> None:
    """The phase of its lowest tones turns a little; also where the recording begins within a word."""
    speech = torch.from_numpy(sf.read(path)[0])
    assert si_snr_db(remove_offset(speech), speech) > 39
    cuts = [cut for cut in speech.unfold(0, 8000, 4000) if cut.std() > 0.01]
    assert np.mean([si_snr_db(remove_offset(cut), cut) for cut in cuts]) > 26


# --- an offset changes nothing, whatever the way through the network --------------------------------------------------


@pytest.fixture(scope="module")
def pretrained() -> LiteRTSE:
    return LiteRTSE.from_pretrained().eval()


@pytest.fixture(scope="module")
def noisy() -> Tensor:
    time = torch.arange(16_000) / 16_000
    voice = sum(torch.sin(2 * math.pi * 140 * k * time) / k for k in range(1, 20)) * (torch.sin(4 * math.pi * time) > 0)
    return 0.05 * voice + 0.2 * noise(16_000).float()


def above_60_hz(waveform: Tensor, rate: int = 16_000) -> Tensor:
    spectrum = torch.fft.rfft(waveform)
    spectrum[torch.fft.rfftfreq(len(waveform), 1 / rate) < 60] = 0
    return torch.fft.irfft(spectrum, len(waveform))


def changed(way: Callable[[Tensor], Tensor], noisy: Tensor, offset: float) -> float:
    """What share of the result above 60 Hz is another one with the offset."""
    expected = above_60_hz(way(noisy))
    return float((above_60_hz(way(noisy + offset)) - expected).norm() / expected.norm())


def streamed(network: Network, waveform: Tensor, **options: object) -> Tensor:
    streamer = Streamer(network, **options)  # type: ignore[arg-type]
    blocks = [streamer.feed(block) for block in waveform.numpy().reshape(-1, 100)]
    return torch.from_numpy(np.concatenate([*blocks, streamer.flush()]))


OFFSETS = [0.01, 0.3, -0.3, 1.0]


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("way", ["enhance", "segments", "streamer", "live"])
def test_an_offset_changes_nothing(pretrained: LiteRTSE, noisy: Tensor, way: str, offset: float) -> None:
    network = Network.from_model(pretrained)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "enhance": pretrained.enhance,
        "segments": lambda x: enhance_waveform(pretrained, x, segment_frames=20),
        "streamer": lambda x: streamed(network, x),
        "live": lambda x: streamed(network, x, compensate_delay=False),
    }
    assert changed(ways[way], noisy, offset) < 0.01


@pytest.mark.parametrize("rate", [8000, 48_000])
@pytest.mark.parametrize("live", [False, True])
def test_at_another_rate_it_changes_little(pretrained: LiteRTSE, noisy: Tensor, rate: int, live: bool) -> None:
    """The resampler begins out of silence. So what is constant is a step, and its click above 8 kHz is heard once.

    The click changes the network's state, and what is left of that after 3/8 s depends on the weights.
    """
    network, second = Network.from_model(pretrained), noisy.repeat(3)[:rate]

    def change(high_pass: bool) -> tuple[float, float]:
        options = {"sample_rate": rate, "compensate_delay": not live, "high_pass": high_pass}
        result, shifted = (streamed(network, waveform, **options) for waveform in (second, second + 0.1))
        difference = above_60_hz(shifted, rate) - above_60_hz(result, rate)
        after = rate * 3 // 8  # 1 % of the step is left
        return float(difference.norm() / result.norm()), float(difference[after:].norm() / result[after:].norm())

    everywhere, later = change(True)
    assert everywhere < 0.1
    assert later < min(0.03, change(False)[1] / 4)


def test_without_high_pass_an_offset_does_change_it(pretrained: LiteRTSE, noisy: Tensor) -> None:
    network = Network.from_model(pretrained)
    for way in (
        lambda x: pretrained.enhance(x, high_pass=False),
        lambda x: enhance_waveform(pretrained, x, segment_frames=100, high_pass=False),
        lambda x: streamed(network, x, high_pass=False),
    ):
        assert changed(way, noisy, 0.3) > 0.1


@pytest.mark.parametrize("switch", [True, False])
def test_files_have_the_switch(tmp_path: Path, switch: bool) -> None:
    torch.manual_seed(0)
    model = LiteRTSE(channels=4, order=2).eval()
    samples = (noise(3000, 2) + torch.tensor([0.3, -0.1])).float()
    write(tmp_path / "in.wav", samples.numpy(), AudioFormat(16_000, 2, "WAV", "FLOAT"))
    enhance_file(model, tmp_path / "in.wav", tmp_path / "out.wav", high_pass=switch)
    for channel, got in zip(samples.T, read(tmp_path / "out.wav")[0].T, strict=True):
        wanted = enhance_waveform(model, channel.contiguous(), high_pass=switch)
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-7)
