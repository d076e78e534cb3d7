"""The complex layers against complex arithmetic, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext.models.blocks.complex import (
    ComplexBatchNorm2d,
    ComplexConv2d,
    ComplexConvTranspose2d,
    ComplexLSTM,
)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def as_complex(x: Tensor) -> Tensor:
    return torch.complex(*x.chunk(2, 1))


def as_channels(z: Tensor) -> Tensor:
    return torch.cat([z.real, z.imag], 1)


def drawn_layer(make: Callable[[], nn.Module]) -> nn.Module:
    """The layer in float64 with random parameters, biases included."""
    layer = make().double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("make", "by_torch"),
    [
        (lambda: ComplexConv2d(6, 4, (5, 2), (2, 1), (2, 0)), functional.conv2d),
        (lambda: ComplexConvTranspose2d(6, 4, (5, 2), (2, 1), (2, 0), (1, 0)), functional.conv_transpose2d),
    ],
    ids=["conv", "transposed"],
)
def test_convolutions_are_complex(make: Callable[[], nn.Module], by_torch: Callable[..., Tensor]) -> None:
    layer = drawn_layer(make)
    x = drawn(2, 6, 9, 7)
    sizes = (2, 1), (2, 0), *([(1, 0)] if by_torch is functional.conv_transpose2d else [])
    real, imag = layer.real_conv, layer.imag_conv
    weight, bias = torch.complex(real.weight, imag.weight), torch.complex(real.bias - imag.bias, real.bias + imag.bias)
    want = by_torch(as_complex(x), weight, bias, *sizes)
    torch.testing.assert_close(layer(x), as_channels(want), rtol=1e-12, atol=1e-12)


def test_initial_weights() -> None:
    layer = ComplexConv2d(64, 64, (5, 2))
    for conv in (layer.real_conv, layer.imag_conv):
        assert conv.weight.std().item() == pytest.approx(0.05, rel=0.03)
        assert not conv.bias.any()


def test_lstm_is_complex() -> None:
    layer = drawn_layer(lambda: ComplexLSTM(5, 3))
    a, b = drawn(2, 6, 5), drawn(2, 6, 5)

    def one(lstm: nn.LSTM, x: Tensor) -> Tensor:
        return lstm(x)[0]

    real, imag = layer(a, b)
    torch.testing.assert_close(real, one(layer.real_lstm, a) - one(layer.imag_lstm, b), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(imag, one(layer.real_lstm, b) + one(layer.imag_lstm, a), rtol=1e-12, atol=1e-12)


def test_linear_layers_of_the_lstm_take_one_part_each() -> None:
    layer = drawn_layer(lambda: ComplexLSTM(5, 3, 4))
    bare = ComplexLSTM(5, 3).double()
    bare.load_state_dict({k: v for k, v in layer.state_dict().items() if "trans" not in k})
    parts = drawn(2, 6, 5), drawn(2, 6, 5)
    for got, linear, hidden in zip(layer(*parts), (layer.r_trans, layer.i_trans), bare(*parts), strict=True):
        torch.testing.assert_close(got, linear(hidden), rtol=1e-12, atol=1e-12)


def correlated(channels: int) -> Tensor:
    """Data whose real and imaginary parts are correlated, with another mean and scale in every channel."""
    x = drawn(3, 2 * channels, 5, 8)
    x[:, channels:] += 0.8 * x[:, :channels]
    return x * torch.linspace(0.5, 2, 2 * channels).view(-1, 1, 1) + torch.arange(2.0 * channels).view(-1, 1, 1)


def whitened(x: Tensor, norm: ComplexBatchNorm2d) -> tuple[Tensor, Tensor, Tensor]:
    """The formula itself, channel by channel, with an eigendecomposition. Also the means and the covariances."""
    half = x.shape[1] // 2
    result, means, covariances = torch.empty_like(x), [], []
    for c in range(half):
        pair = torch.stack([x[:, c].flatten(), x[:, half + c].flatten()])
        mean = pair.mean(1, keepdim=True)
        covariance = (pair - mean) @ (pair - mean).T / pair.shape[1]
        values, vectors = torch.linalg.eigh(covariance + norm.eps * torch.eye(2))
        root = vectors @ torch.diag(values.rsqrt()) @ vectors.T
        weight = torch.stack([norm.Wrr[c], norm.Wri[c], norm.Wri[c], norm.Wii[c]]).view(2, 2)
        shift = torch.stack([norm.Br[c], norm.Bi[c]]).view(2, 1)
        normed = weight @ root @ (pair - mean) + shift
        result[:, c], result[:, half + c] = normed.view(2, *x[:, c].shape)
        means.append(mean[:, 0])
        covariances.append(covariance)
    return result, torch.stack(means), torch.stack(covariances)


def test_batch_norm_whitens_by_the_covariance() -> None:
    norm = drawn_layer(lambda: ComplexBatchNorm2d(6))
    x = correlated(3)
    torch.testing.assert_close(norm(x), whitened(x, norm)[0].detach(), rtol=1e-10, atol=1e-10)


def test_whitened_channels_have_unit_covariance() -> None:
    norm = ComplexBatchNorm2d(6).double()
    nn.init.zeros_(norm.Wri)
    _, means, covariances = whitened(norm(correlated(3)).detach(), norm)
    torch.testing.assert_close(means, torch.zeros_like(means), rtol=0, atol=1e-12)
    torch.testing.assert_close(covariances, torch.eye(2).double().expand(3, 2, 2), rtol=0, atol=1e-3)


def test_running_averages() -> None:
    norm = drawn_layer(lambda: ComplexBatchNorm2d(6))
    x = correlated(3)
    _, means, covariances = whitened(x, norm)
    norm(x)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.RMr, 0.1 * means[:, 0])
    torch.testing.assert_close(norm.RMi, 0.1 * means[:, 1])
    for name, row, column, initial in (("RVrr", 0, 0, 1), ("RVri", 0, 1, 0), ("RVii", 1, 1, 1)):
        torch.testing.assert_close(getattr(norm, name), 0.9 * initial + 0.1 * covariances[:, row, column])


def test_evaluation_uses_the_running_averages() -> None:
    norm = drawn_layer(lambda: ComplexBatchNorm2d(6))
    x = correlated(3)
    want = whitened(x, norm)[0].detach()
    norm.momentum = 1.0
    norm(x)
    norm.eval()
    torch.testing.assert_close(norm(x), want, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(norm(x[:1, :, :2, :3]), want[:1, :, :2, :3], rtol=1e-10, atol=1e-10)


def test_batch_norm_of_half_precision_keeps_its_type_and_accuracy() -> None:
    norm = ComplexBatchNorm2d(6)
    x = correlated(3).float()
    half = norm(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), norm(x.bfloat16().float()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ComplexConv2d(4, 6, (3, 2)),
        lambda: ComplexConvTranspose2d(4, 6, (3, 2)),
        lambda: ComplexBatchNorm2d(4),
    ],
    ids=["conv", "transposed", "norm"],
)
def test_gradients(make: Callable[[], nn.Module]) -> None:
    layer = drawn_layer(make)
    x = drawn(2, 4, 4, 3).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *layer.parameters()))


@pytest.mark.parametrize("channels", [3, 0])
def test_an_odd_number_of_channels_is_refused(channels: int) -> None:
    words = rf"expected an even number above 0, got {channels}"
    for make, name in (
        (lambda: ComplexConv2d(channels, 4, (1, 1)), "in_channels"),
        (lambda: ComplexConvTranspose2d(4, channels, (1, 1)), "out_channels"),
        (lambda: ComplexBatchNorm2d(channels), "channels"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {words}"):
            make()
