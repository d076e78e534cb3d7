"""The transform pair: perfect reconstruction, the definition itself, gradients, errors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lite_rtse_ext.audio import istft, stft
from lite_rtse_ext.audio.spectrogram import frames_of
from lite_rtse_ext.signal import BINS, HOP_LENGTH, N_FFT, SIGNAL, WINDOWS, Signal

SIGNALS = [
    SIGNAL,
    Signal(n_fft=400, hop_length=200, window="sine"),
    Signal(n_fft=320, hop_length=160, window="hann"),
    Signal(n_fft=512, hop_length=128, window="hann"),
    Signal(n_fft=512, hop_length=128, window="rectangular"),
    Signal(n_fft=512, hop_length=100, window="hann", window_length=400),
]


@given(samples=st.integers(0, 3000), batch=st.lists(st.integers(0, 3), max_size=2))
def test_reconstructs_any_length_and_batch(samples: int, batch: list[int]) -> None:
    waveform = torch.randn(*batch, samples, dtype=torch.float64)
    spectrogram = stft(waveform)
    assert spectrogram.shape == (*batch, BINS, 1 + -(-samples // HOP_LENGTH))
    torch.testing.assert_close(istft(spectrogram, samples), waveform, rtol=0, atol=1e-13)


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 511, 512, 513, 16_001])
def test_reconstructs_float32_to_rounding(samples: int) -> None:
    waveform = torch.rand(2, samples) * 2 - 1
    torch.testing.assert_close(istft(stft(waveform), samples), waveform, rtol=0, atol=2e-6)


def test_is_the_windowed_transform_of_each_frame() -> None:
    waveform = torch.randn(5 * HOP_LENGTH + 17, dtype=torch.float64)
    spectrogram = stft(waveform)
    for frame in range(frames_of(len(waveform))):
        inside = torch.zeros(N_FFT, dtype=torch.float64)
        for n in range(N_FFT):
            position = (frame - 1) * HOP_LENGTH + n
            if 0 <= position < len(waveform):
                inside[n] = waveform[position]
        expected = torch.fft.rfft(inside * torch.hann_window(N_FFT, dtype=torch.float64).sqrt())
        torch.testing.assert_close(spectrogram[:, frame], expected)


def test_window_squared_sums_to_one_at_every_hop() -> None:
    power = torch.tensor(SIGNAL.analysis_window, dtype=torch.float64).square()
    assert SIGNAL.synthesis_window == pytest.approx(SIGNAL.analysis_window, abs=1e-15)
    torch.testing.assert_close(power[:HOP_LENGTH] + power[HOP_LENGTH:], torch.ones(HOP_LENGTH, dtype=torch.float64))


@pytest.mark.parametrize("signal", SIGNALS, ids=str)
@pytest.mark.parametrize("samples", [0, 1, 99, 100, 401, 3000])
def test_every_signal_is_reconstructed(signal: Signal, samples: int) -> None:
    waveform = torch.randn(2, samples, dtype=torch.float64)
    spectrogram = stft(waveform, signal)
    assert spectrogram.shape == (2, signal.bins, frames_of(samples, signal))
    torch.testing.assert_close(istft(spectrogram, samples, signal), waveform, rtol=0, atol=1e-13)


@pytest.mark.parametrize("signal", SIGNALS, ids=str)
def test_every_frame_is_its_windowed_transform(signal: Signal) -> None:
    waveform = torch.randn(1000, dtype=torch.float64)
    spectrogram = stft(waveform, signal)
    start = 3 * signal.hop_length - signal.window_length + signal.hop_length
    inside = torch.nn.functional.pad(waveform, (1000, 1000))[1000 + start :][: signal.window_length]
    length = signal.window_length
    window = torch.tensor([WINDOWS[signal.window](n, length) for n in range(length)], dtype=torch.float64)
    torch.testing.assert_close(spectrogram[:, 3], torch.fft.rfft(inside * window, n=signal.n_fft))


def test_a_window_shorter_than_the_transform_has_known_values() -> None:
    """The inverse is the least-squares solution. It differs from the inverse transform for a changed spectrum."""
    signal = SIGNALS[-1]
    spectrogram = stft(torch.sin(0.1 * torch.arange(1600, dtype=torch.float64)), signal)
    assert spectrogram.shape == (257, 19)
    assert float(torch.view_as_real(spectrogram).abs().mean()) == pytest.approx(0.68293966, abs=1e-8)
    f, t = torch.arange(257, dtype=torch.float64)[:, None], torch.arange(12, dtype=torch.float64)
    real, imag = (torch.sin(0.3 * f + 0.7 * t + 1.1 * c + 0.05 * f * t) for c in (0, 1))
    waveform = istft(torch.complex(real, imag), 900, signal)
    assert float(waveform.abs().mean()) == pytest.approx(0.00409562747, rel=1e-7)
    assert float(waveform[450]) == pytest.approx(0.00050438695, rel=1e-7)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"window": "kaiser"}, "window: expected one of sqrt-hann, sine, hann, rectangular, got 'kaiser'"),
        ({"n_fft": 511}, "n_fft even"),
        ({"window_length": 600}, "at least window_length, .* got 512, 600, 256"),
        ({"hop_length": 0}, "above hop_length"),
        ({"hop_length": 200}, r"window_length: expected a multiple of hop_length \(200\), got 512"),
    ],
    ids=str,
)
def test_a_signal_that_cannot_be_is_refused(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Signal(**arguments)


def test_the_last_samples_are_not_amplified() -> None:
    """A change of the spectrogram changes no sample by more than a frame can hold, at the ends neither."""
    samples = 3 * HOP_LENGTH + HOP_LENGTH - 1  # torch.stft alone would leave the last sample under a window of 0.006
    spectrogram = stft(torch.zeros(samples))
    spectrogram[:, -1] += 1.0  # an impulse in the middle of the last frame's window
    assert istft(spectrogram, samples).abs().max() <= 1.0


def test_gradients_flow_both_ways() -> None:
    waveform = torch.randn(2, 700, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: torch.view_as_real(stft(w)), waveform, fast_mode=True)
    parts = torch.view_as_real(stft(waveform)).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: istft(torch.view_as_complex(p), 700), parts, fast_mode=True)


def test_digital_silence_stays_silent() -> None:
    assert not istft(stft(torch.zeros(2, 1000)), 1000).any()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(TypeError, match=r"waveform must be float32 or float64, got torch\.float16"):
        stft(torch.zeros(100, dtype=torch.float16))
    with pytest.raises(ValueError, match="waveform must have shape"):
        stft(torch.tensor(0.0))
    with pytest.raises(TypeError, match="spectrogram must be complex"):
        istft(torch.zeros(BINS, 2), 100)
    with pytest.raises(ValueError, match=r"\(\.\.\., 257, 2\) for 100 samples, got \(257, 3\)"):
        istft(torch.zeros(BINS, 3, dtype=torch.complex64), 100)
