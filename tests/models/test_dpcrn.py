"""DPCRN is the published network, and so is the comb filter of DPCRN-CF. The rest of it is a reconstruction."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from lite_rtse_ext.audio import stft
from lite_rtse_ext.models import create_model
from lite_rtse_ext.models.blocks.bands import erb_bands
from lite_rtse_ext.models.blocks.comb_filter import PITCHES, CombFilter
from lite_rtse_ext.models.dpcrn_cf import DPCRNCF, _samples_around
from lite_rtse_ext.signal import Signal
from tests.models.fingerprints import check

FULL_BAND = Signal(48_000, 1536, 384, "hann")


def test_dpcrn_has_the_published_values() -> None:
    low, high = (-2.010362178, -6.552567296), (9.175432280, 5.508128736)
    check(create_model("dpcrn"), 16.703793158, low, high, 10.831842330)


@torch.no_grad()
def test_the_comb_filter_has_the_published_values() -> None:
    comb = CombFilter(FULL_BAND).double()
    x = functional.pad(torch.sin(0.01 * torch.arange(4800, dtype=torch.float64)), (comb.reach, comb.reach))
    samples = x.unfold(0, 1536 + 2 * comb.reach, 384)
    pitches = functional.one_hot(37 * torch.arange(len(samples)) % PITCHES, PITCHES).double()
    y = comb(samples[None], pitches[None])[0] * torch.hann_window(1536, dtype=torch.float64)
    found = [float(y.abs().mean()), float(y[2, 700]), float(y[7, 100])]
    assert found == pytest.approx([0.19695927, 0.70228549, 0.01523327], abs=1e-8)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_the_samples_around_a_frame_come_from_five_spectra(rate: int) -> None:
    signal = DPCRNCF(rate).signal
    waveform = torch.randn(1, 14 * signal.hop_length, dtype=torch.float64)
    spectra = torch.view_as_real(stft(waveform, signal)).permute(0, 3, 2, 1)
    window = torch.tensor(signal.analysis_window, dtype=torch.float64)
    samples = _samples_around(spectra, window, signal)
    reach = 2 * signal.hop_length
    padded = functional.pad(waveform[0], (3 * signal.hop_length, signal.n_fft))
    for t in range(3, 8):  # frame t of the samples is frame t + 2 of the spectra
        want = padded[(t + 2) * signal.hop_length - reach :][: signal.n_fft + 2 * reach]
        torch.testing.assert_close(samples[0, t, 1:], want[1:], rtol=0, atol=1e-8)


@torch.no_grad()
def test_the_comb_filter_is_exact_in_float32() -> None:
    torch.manual_seed(0)
    exact = DPCRNCF(48_000)
    spectra, pitches = torch.randn(1, 2, 8, 769), torch.randn(1, 4, PITCHES).softmax(-1)
    found = exact._comb(spectra, pitches)
    want = exact.double()._comb(spectra.double(), pitches.double())
    assert (found - want).norm() < 1e-5 * want.norm()


def test_a_comb_keeps_its_pitch_and_removes_what_lies_between() -> None:
    """The taps' distance is one sample shorter than the stated period, as in the published filter."""
    comb = CombFilter(FULL_BAND)
    place = 100
    period = 768 - 3 * place - 1
    n = torch.arange(1536 + 2 * comb.reach, dtype=torch.float64)
    pitches = functional.one_hot(torch.tensor([[place]]), PITCHES).double()
    for cycles, kept in ((3.0, 1.0), (3.5, 0.0)):
        x = torch.sin(2 * torch.pi * cycles * n / period)
        y = comb.double()(x[None, None], pitches)
        torch.testing.assert_close(y[0, 0], kept * x[comb.reach : -comb.reach], rtol=0, atol=1e-9)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_bands_share_out_every_bin(rate: int) -> None:
    bands = erb_bands(64, 0.0, rate / 2, 31.25)
    assert bands.shape == (64, rate // 2 * 32 // 1000 + 1)
    torch.testing.assert_close(bands.sum(0), torch.ones(bands.shape[1], dtype=torch.float64))
    assert (bands.amax(1) == 1).all()


@pytest.mark.parametrize("rate", [8000, 44_100, 16_000.5])
def test_other_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"sample_rate: expected one of 16000, 48000, got {rate}"):
        DPCRNCF(rate)  # type: ignore[arg-type]
