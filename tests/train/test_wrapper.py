"""Scales around the network that can be moved into its weights, and the branch that joins late."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lite_rtse_ext import LiteRTSE, reference
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.train.initial import begin_as_identity, measure_scale
from lite_rtse_ext.train.wrapper import ScaledLiteRTSE, delay_branch

BINS, FRAMES = 9, 12


@pytest.fixture
def scale() -> torch.Tensor:
    return torch.rand(BINS, generator=torch.Generator().manual_seed(1)) * 3 + 0.1


def small(kind: type[reference.LiteRTSE] = LiteRTSE) -> reference.LiteRTSE:
    torch.manual_seed(0)
    return kind(bins=BINS, channels=4, order=2)


def spectrogram(level: float = 1.0) -> torch.Tensor:
    return level * torch.randn(2, BINS, FRAMES, 2, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", [LiteRTSE, reference.LiteRTSE])
def test_wrapping_a_plain_network_changes_nothing(kind: type[reference.LiteRTSE], scale: torch.Tensor) -> None:
    want = small(kind)(spectrogram())
    torch.testing.assert_close(ScaledLiteRTSE(small(kind), scale, 1 / 16)(spectrogram()), want)


def test_scales_move_into_the_weights(scale: torch.Tensor) -> None:
    wrapped = ScaledLiteRTSE(small(), scale, 1 / 16)
    with torch.no_grad():  # as training does
        for parameter in wrapped.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    plain = small()
    plain.load_state_dict(wrapped.plain_state())
    torch.testing.assert_close(plain(spectrogram(0.5)), wrapped(spectrogram(0.5)))
    again = ScaledLiteRTSE(plain, 2 * scale, 0.5)
    torch.testing.assert_close(again(spectrogram(0.5)), wrapped(spectrogram(0.5)))


@pytest.mark.parametrize("kind", ["scaled", "gain"])
def test_a_wrapped_network_goes_on_from_its_states(scale: torch.Tensor, kind: str) -> None:
    wrapped = ScaledLiteRTSE(small(), scale, 1 / 16) if kind == "scaled" else InputGain(small(), 1 / 16)
    x = spectrogram()
    first, states = wrapped.advance(x[:, :, :7])
    then, _ = wrapped.advance(x, 7, states)
    torch.testing.assert_close(torch.cat([first, then], dim=2), wrapped(x))
    assert wrapped.context_frames == small().context_frames


def test_scales_are_in_the_state(scale: torch.Tensor) -> None:
    wrapped = ScaledLiteRTSE(small(), scale, 1 / 16)
    other = ScaledLiteRTSE(small(), torch.ones(BINS), 1.0)
    other.load_state_dict(wrapped.state_dict())
    torch.testing.assert_close(other(spectrogram()), wrapped(spectrogram()))


def test_lstms_drop_values_in_training_alone(scale: torch.Tensor) -> None:
    plain, dropping = (ScaledLiteRTSE(small(), scale, 1 / 16, dropout) for dropout in (0.0, 0.5))
    dropped = []
    for lstm in (dropping.net.lstm1, dropping.net.lstm2):
        lstm.register_forward_hook(lambda module, inputs, results: dropped.append(results[0] == 0))
    assert not torch.equal(dropping(spectrogram()), plain(spectrogram()))
    assert [float(each.float().mean()) for each in dropped] == [pytest.approx(0.5, abs=0.2)] * 2
    dropping.eval()
    torch.testing.assert_close(dropping(spectrogram()), plain(spectrogram()), rtol=0, atol=0)


def test_a_share_of_the_input_is_kept_except_in_training(scale: torch.Tensor) -> None:
    keep = torch.linspace(0, 0.5, BINS)
    usual, keeping = (ScaledLiteRTSE(small(), scale, 1 / 16, min_gain=k) for k in (None, keep))
    for wrapped in (usual, keeping):
        wrapped.net.load_state_dict(usual.net.state_dict())  # as after the same training
        for parameter in wrapped.net.to_mag.parameters():
            nn.init.zeros_(parameter)  # nothing of what the mask takes away: magnitudes are not negative
    x = spectrogram()
    torch.testing.assert_close(keeping(x), usual(x), rtol=0, atol=0)
    noisy, without, kept = (torch.view_as_complex(each).abs() for each in (x, usual.eval()(x), keeping.eval()(x)))
    torch.testing.assert_close(kept, (1 - keep[:, None]) * without + keep[:, None] * noisy)


def test_the_min_gain_goes_into_the_weights(scale: torch.Tensor) -> None:
    keep = torch.linspace(0, 0.5, BINS)
    plain, x = small().eval(), spectrogram()
    keeping = ScaledLiteRTSE(plain, scale, 1 / 16, min_gain=keep).eval()
    torch.testing.assert_close(keeping(x), small()(x))  # what the plain network keeps is taken for this share
    with torch.no_grad():
        for parameter in keeping.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    plain = small().eval()
    plain.load_state_dict(keeping.plain_state())
    torch.testing.assert_close(plain(x), keeping(x))
    again = ScaledLiteRTSE(plain, 2 * scale, 0.5, min_gain=0.5 * keep).eval()
    torch.testing.assert_close(again(x), keeping(x))


def test_the_first_network_gives_nearly_its_input() -> None:
    net = small()
    begin_as_identity(net)
    x = spectrogram(0.1)
    gain = torch.view_as_complex(net(x)) / torch.view_as_complex(x)
    assert (gain.abs() > 0.5).all()
    assert gain.angle().abs().max() < 1.0
    assert not net.msmo_conv(torch.rand(1, 1, 4, BINS)).any()


def test_measured_scales_even_out_the_bins() -> None:
    generator = torch.Generator().manual_seed(0)
    waveforms = [0.01 * torch.randn(16_000, generator=generator).cumsum(0) for _ in range(4)]
    from lite_rtse_ext.audio.spectrogram import stft

    means = torch.stack([stft(waveform).abs().mean(-1) for waveform in waveforms]).mean(0)
    scaled = means * measure_scale(waveforms)
    assert scaled.max() / scaled.min() == pytest.approx(float((means.max() / means.min()).sqrt()), rel=1e-3)
    assert scaled.log().mean().exp() == pytest.approx(float((means.log().mean().exp() / means.mean()).sqrt()), rel=1e-3)
    assert measure_scale([torch.zeros(1000)]).isfinite().all()


def test_a_delayed_branch_gives_zeros_and_has_no_gradient() -> None:
    net = small()
    full = net(spectrogram())
    delay_branch(net, "msmo_conv", True)
    without = net(spectrogram())
    without.sum().backward()
    assert all(parameter.grad is None for parameter in net.msmo_conv.parameters())
    with torch.no_grad():
        delay_branch(net, "msmo_conv", False)
        torch.testing.assert_close(net(spectrogram()), full)
        begin_as_identity(net)
        joined = net(spectrogram())
        delay_branch(net, "msmo_conv", True)
        torch.testing.assert_close(net(spectrogram()), joined)  # it joins without a jump
    assert not torch.equal(without, full)
    with pytest.raises(ValueError, match="no submodule nowhere"):
        delay_branch(net, "nowhere", True)


def test_any_network_can_have_an_input_gain() -> None:
    class Square(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.square()

    torch.testing.assert_close(InputGain(Square(), 0.5)(spectrogram()), 0.5 * spectrogram().square())
    assert InputGain(nn.Linear(2, 2), 0.5).plain_state().keys() == {"weight", "bias"}
