"""The reference against loops written from the formulas, and the properties that the network is defined by."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lite_rtse_ext import reference

from .compare import assert_agrees

EXACT = 1e-12


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop_dwconv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    (batch, channels, frames, bins), (kt, kf) = x.shape, weight.shape[2:]
    y = torch.zeros_like(x)
    for b, c, t, f in torch.cartesian_prod(*map(torch.arange, (batch, channels, frames, bins))).tolist():
        total = 0.0 if bias is None else float(bias[c])
        for i in range(kt):
            for j in range(kf):
                row, column = t - (kt - 1) + i, f - (kf - 1) // 2 + j
                if row >= 0 and 0 <= column < bins:
                    total += float(weight[c, 0, i, j] * x[b, c, row, column])
        y[b, c, t, f] = total
    return y


def mix(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1×1 convolution as the matrix product it is."""
    return torch.einsum("oc,bctf->botf", weight[:, :, 0, 0], x) + bias[:, None, None]


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (7, 7), (5, 3), (1, 5), (3, 1)])
@pytest.mark.parametrize("biased", [True, False])
def test_causal_dwconv2d_is_the_loop(kernel: tuple[int, int], biased: bool) -> None:
    x, weight = random(2, 3, 4, 5), random(3, 1, *kernel, seed=1)
    bias = random(3, seed=2) if biased else None
    assert_agrees(reference.causal_dwconv2d(x, weight, bias), loop_dwconv(x, weight, bias), EXACT)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 3)])
def test_conv_block_is_its_formula(shape: tuple[int, int]) -> None:
    cin, channels = shape
    weights = [random(*s, seed=k) for k, s in enumerate(conv_block_shapes(cin, channels))]
    biases = [random(channels, seed=10 + k) for k in range(4)]
    x = random(2, cin, 4, 5)
    inner = loop_dwconv(mix(x, weights[0], biases[0]), weights[1], biases[1])
    expected = mix(inner, weights[2], biases[2]) * mix(x, weights[3], biases[3])
    assert_agrees(reference.conv_block(x, weights, biases), expected, EXACT)


def conv_block_shapes(cin: int, channels: int) -> list[tuple[int, ...]]:
    return [(channels, cin, 1, 1), (channels, 1, 3, 3), (channels, channels, 1, 1), (channels, cin, 1, 1)]


@pytest.mark.parametrize(("channels", "order", "out_channels"), [(2, 2, 1), (8, 3, 8), (8, 4, 1)])
def test_multi_order_conv_is_its_recursion(channels: int, order: int, out_channels: int) -> None:
    gates = [channels // 2 ** (order - 1 - k) for k in range(order - 1)]
    block = reference.MultiOrderConv(channels, order, in_channels=3, out_channels=out_channels, kernel_size=3).double()
    weights, biases = ([tensor.detach() for tensor in tensors] for tensors in block.operands())
    x = random(2, 3, 3, 4)
    h = mix(x, weights[0], biases[0])
    d, p = h[:, : 2 * channels - gates[0]], h[:, 2 * channels - gates[0] :]
    for k, gate in enumerate(gates):
        assert d.shape[1] == 2 * channels - gate
        u = loop_dwconv(d, weights[1 + k], biases[1 + k])
        d, p = u[:, :-gate], mix(p * u[:, -gate:], weights[order + k], biases[order + k])
    assert d.shape[1] == p.shape[1] == channels
    assert_agrees(block(x), mix(d * p, weights[-1], biases[-1]), EXACT)


def test_multi_order_conv_multiplies_order_times() -> None:
    """Order n is n products of features, so without biases the output is of degree n + 1 in the input."""
    for order in (2, 3, 5):
        block = reference.MultiOrderConv(16, order, kernel_size=3).double()
        with torch.no_grad():
            for bias in block.operands()[1]:
                bias.zero_()
        x = random(1, 8, 4, 5)
        assert_agrees(block(3 * x), 3 ** (order + 1) * block(x), EXACT)


@pytest.mark.parametrize("is_complex", [True, False])
def test_mask_residual_is_a_complex_gain(is_complex: bool) -> None:
    x = random(2, 5, 4, 2)
    logit, mag, re, im = (random(2, 4, 5, seed=k) for k in range(1, 5))
    result = reference.mask_residual(torch.view_as_complex(x) if is_complex else x, logit, mag, re, im)
    assert result.is_complex() == is_complex
    parts = torch.view_as_real(result) if is_complex else result
    for b, f, t in torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(4)).tolist():
        mask = 1 / (1 + math.exp(-float(logit[b, t, f])))
        turn = complex(re[b, t, f], im[b, t, f])
        gain = (float(mag[b, t, f]) * (1 - mask) + mask) * turn / abs(turn)
        expected = gain * complex(*x[b, f, t].tolist())
        assert complex(*parts[b, f, t].tolist()) == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_mask_residual_without_direction_keeps_the_phase() -> None:
    x, zero, one = random(1, 2, 3, 2), torch.zeros(1, 3, 2).double(), torch.ones(1, 3, 2).double()
    assert_agrees(reference.mask_residual(x, zero, one, zero, zero), x, EXACT)


def test_magnitude_and_its_gradient_in_silence() -> None:
    x = random(1, 3, 4, 2)
    x[:, 0] = 0
    x.requires_grad_()
    mag = reference.magnitude(x)
    assert mag.shape == (1, 4, 3)
    assert_agrees(mag, torch.view_as_complex(x).abs().transpose(1, 2), EXACT)
    mag.sum().backward()
    assert torch.equal(x.grad[:, 0], torch.zeros(1, 4, 2).double())
    assert_agrees(x.grad[:, 1:], (x / x.norm(dim=-1, keepdim=True))[:, 1:], EXACT)


def test_second_derivatives() -> None:
    weights = [random(*s, seed=k).requires_grad_() for k, s in enumerate(conv_block_shapes(1, 2))]
    biases = [random(2, seed=10 + k).requires_grad_() for k in range(4)]
    x = random(1, 1, 2, 3).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, *p: reference.conv_block(x, p[:4], p[4:]), (x, *weights, *biases))
    spectrogram = random(1, 2, 2, 2).requires_grad_()
    rest = [random(1, 2, 2, seed=k).requires_grad_() for k in range(1, 5)]
    assert torch.autograd.gradgradcheck(reference.mask_residual, (spectrogram, *rest))


@pytest.mark.parametrize(("depthwise", "parameters"), [(True, 1_559_245), (False, 1_577_101)])
def test_parameter_count(depthwise: bool, parameters: int) -> None:
    with torch.device("meta"):
        model = reference.LiteRTSE(depthwise=depthwise)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_parameter_names_and_shapes() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in reference.LiteRTSE().state_dict().items()}
    lstm = {"weight_ih_l0": (1028, 257), "weight_hh_l0": (1028, 257), "bias_ih_l0": (1028,), "bias_hh_l0": (1028,)}
    expected = {f"{name}.{key}": shape for name in ("lstm1", "lstm2") for key, shape in lstm.items()}
    weights: dict[str, tuple[int, ...]] = dict.fromkeys(("fc1", "to_mag", "to_real", "to_imag"), (257, 257))
    weights["fc2"] = (257, 771)
    for block, cin in ((0, 1), (1, 32)):
        layers = zip(("conv.0", "conv.2", "conv.3", "skip"), conv_block_shapes(cin, 32), strict=True)
        weights |= {f"msmo_conv.{block}.{layer}": shape for layer, shape in layers}
    weights |= {"msmo_conv.2.pwconv1": (128, 32, 1, 1), "msmo_conv.2.pwconvN": (1, 64, 1, 1)}
    for k, gate in enumerate((4, 8, 16, 32)):
        weights[f"msmo_conv.2.pwconvs.{k}"] = (2 * gate, gate, 1, 1)
        weights[f"msmo_conv.2.dwconvs.{k}.1"] = (128 - gate, 1, 7, 7)
    for name, shape in weights.items():
        expected |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    assert shapes == expected


@pytest.mark.parametrize("depthwise", [True, False])
def test_no_frame_hears_the_future(depthwise: bool) -> None:
    torch.manual_seed(0)
    model = reference.LiteRTSE(bins=9, channels=8, order=3, depthwise=depthwise).double()
    x, split = random(2, 9, 12, 2), 7
    y = model(x)
    changed = x.clone()
    changed[:, :, split:] = random(2, 9, 12 - split, 2, seed=1)
    z = model(changed)
    assert torch.equal(y[:, :, :split], z[:, :, :split])
    assert not torch.isclose(y[:, :, split:], z[:, :, split:]).any()


def test_complex_and_real_layouts_agree() -> None:
    model = reference.LiteRTSE(bins=9, channels=8, order=3).double()
    x = random(2, 9, 5, 2)
    assert torch.equal(torch.view_as_real(model(torch.view_as_complex(x))), model(x))


@pytest.mark.parametrize("shape", [(1, 8, 4, 2), (1, 9, 4, 3), (9, 4, 2), (1, 4, 9, 2), (1, 9, 4)])
def test_wrong_spectrogram_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"spectrogram: expected \(B, 9, T, 2\) for a real one, got"):
        reference.LiteRTSE(bins=9, channels=8, order=3)(torch.zeros(shape))


def test_wrong_complex_spectrogram_is_refused() -> None:
    with pytest.raises(ValueError, match=r"spectrogram: expected \(B, 9, T\) for a complex one, got \(1, 8, 4\)"):
        reference.LiteRTSE(bins=9, channels=8, order=3)(torch.zeros(1, 8, 4, dtype=torch.complex64))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="kernel_size: expected odd and positive sizes, got 4"):
        reference.CausalDepthwiseConv2d(3, 4)
    with pytest.raises(ValueError, match="order: expected at least 2, got 1"):
        reference.MultiOrderConv(8, 1)
    with pytest.raises(ValueError, match=r"channels: expected a multiple of 2\^\(order - 1\), 8 for order 4, got 12"):
        reference.MultiOrderConv(12, 4)
    with pytest.raises(ValueError, match="kernel_size: expected odd"):
        reference.MultiOrderConv(8, 2, kernel_size=6)


def test_conjugate_views_are_their_values() -> None:
    model = reference.LiteRTSE(bins=9, channels=8, order=3).double()
    x = torch.view_as_complex(random(2, 9, 5, 2))
    assert x.conj().is_conj()
    assert torch.equal(model(x.conj()), model(x.conj().resolve_conj()))


@pytest.mark.parametrize("frames", [(5, 4), (1, 8), (8, 1)])
def test_advance_goes_on_where_it_stopped(frames: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = reference.LiteRTSE(bins=9, channels=8, order=3).double()
    x = random(2, 9, sum(frames), 2)
    first, states = model.advance(x[:, :, : frames[0]])
    second, _ = model.advance(x, frames[0], states)
    assert_agrees(torch.cat([first, second], dim=2), model(x), EXACT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_no_frames_give_no_frames(dtype: torch.dtype) -> None:
    model = reference.LiteRTSE(bins=9, channels=8, order=3).double()
    x = torch.zeros((2, 9, 0) if dtype.is_complex else (2, 9, 0, 2), dtype=dtype)
    y = model(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
