"""The loss, against its formula written out in float64, and where signals are silent."""

from __future__ import annotations

import pytest
import torch

from lite_rtse_ext.audio.spectrogram import stft
from lite_rtse_ext.train.loss import EnhancementLoss, LossOptions, si_snr_db

SAMPLES = 4000


def signals(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Enhanced, noisy and clean, ``(2, samples)``."""
    generator = torch.Generator().manual_seed(seed)
    clean, noise = (0.1 * torch.randn(2, SAMPLES, generator=generator) for _ in range(2))
    return clean + 0.3 * noise, clean + noise, clean


def softer() -> tuple[torch.Tensor, ...]:
    """The same, 40 dB lower."""
    return tuple(each / 100 for each in signals())


def test_si_snr_is_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.audio")
    enhanced, _, clean = signals(1)
    want = functional.scale_invariant_signal_noise_ratio(enhanced, clean)
    torch.testing.assert_close(si_snr_db(enhanced, clean), want, rtol=0, atol=1e-3)
    torch.testing.assert_close(si_snr_db(3 * enhanced, clean), want, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("amplitude", "expected"), [(1.0, 20.0), (1e-2, 20.0), (5e-5, 19.9), (5e-6, 14.4)])
def test_very_soft_signals_read_too_low(amplitude: float, expected: float) -> None:
    clean, noise = torch.randn(2, 8, 16_000, generator=torch.Generator().manual_seed(0))
    found = si_snr_db(amplitude * (clean + 0.1 * noise), amplitude * clean).mean()
    assert float(found) == pytest.approx(expected, abs=0.1)


def test_the_parts_are_what_the_formula_says() -> None:
    enhanced, noisy, clean = signals()
    x, s, y = (stft(each.double()) for each in (noisy, clean, enhanced))
    scale = x.abs().square().mean((1, 2), keepdim=True).sqrt()
    s, y = s / scale, y / scale
    power = 0.3

    def compress(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        magnitude = (z.abs().square() + 1e-4) ** (power / 2)
        return magnitude, z * (z.abs().square() + 1e-4) ** ((power - 1) / 2)

    complex_part = (compress(y)[1] - compress(s)[1]).abs().square().mean()
    magnitude_part = (compress(y)[0] - compress(s)[0]).square().mean()
    si_snr_part = -si_snr_db(enhanced.double(), clean.double()).mean()

    losses = EnhancementLoss(LossOptions(0.5, 0.2, 0.03, power))(stft(enhanced), stft(noisy), stft(clean), clean)
    for got, want in zip(losses[1:], (complex_part, magnitude_part, si_snr_part), strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=0)
    total = 0.5 * complex_part + 0.2 * magnitude_part + 0.03 * si_snr_part
    torch.testing.assert_close(losses.total.double(), total, rtol=1e-4, atol=0)


def test_level_makes_no_difference() -> None:
    loss = EnhancementLoss()
    loud, soft = (float(loss(*(stft(each) for each in some), some[-1]).total) for some in (signals(), softer()))
    assert loud == pytest.approx(soft, rel=1e-3)


def test_enhanced_speech_is_better_than_noisy_speech_and_worse_than_clean() -> None:
    loss = EnhancementLoss()
    enhanced, noisy, clean = (stft(each) for each in signals())
    values = [float(loss(each, noisy, clean, signals()[-1]).total) for each in (clean, enhanced, noisy)]
    assert values == sorted(values)


@pytest.mark.parametrize("silent", [{"clean"}, {"enhanced"}, {"clean", "noisy"}, {"clean", "noisy", "enhanced"}])
def test_silence_has_finite_losses_and_gradients(silent: set[str]) -> None:
    parts = dict(zip(("enhanced", "noisy", "clean"), signals(), strict=True))
    spectrograms = {name: stft(each * (name not in silent)) for name, each in parts.items()}
    spectrograms["enhanced"].requires_grad_()
    losses = EnhancementLoss()(**spectrograms, waveform=parts["clean"] * ("clean" not in silent))
    losses.total.backward()
    assert all(each.isfinite() for each in losses)
    gradient = spectrograms["enhanced"].grad
    assert gradient is not None
    assert torch.view_as_real(gradient).isfinite().all()
    if "clean" in silent:
        assert losses.si_snr == 0.0


def test_si_snr_above_the_ceiling_is_good_enough() -> None:
    enhanced, noisy, clean = signals()
    spectrogram = stft(enhanced).requires_grad_()
    loss = EnhancementLoss(LossOptions(0.0, 0.0, 1.0, si_snr_ceiling_db=5.0))
    losses = loss(spectrogram, stft(noisy), stft(clean), clean)
    losses.total.backward()
    assert losses.si_snr == -5.0
    assert spectrogram.grad is not None
    assert not spectrogram.grad.any()


def test_speech_taken_away_counts_more_than_noise_left() -> None:
    clean = signals()[-1]
    plain, strict = (EnhancementLoss(LossOptions(0.0, 1.0, 0.0, over_suppression_weight=w)) for w in (0.0, 2.0))
    for factor, ratio in ((0.5, 3.0), (2.0, 1.0)):
        arguments = (stft(factor * clean), stft(clean), stft(clean), clean)
        assert float(strict(*arguments).total) == pytest.approx(ratio * float(plain(*arguments).total), rel=1e-4)
