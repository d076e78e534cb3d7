"""Complex convolutions: three real ones compute what four do, and fuse finds them in other people's code."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from lite_rtse_ext import fuse, unfuse
from lite_rtse_ext.nn import complex_conv as module
from lite_rtse_ext.nn.complex_conv import complex_conv, in_one, in_three
from lite_rtse_ext.utils import fallback

from ..compare import agreement, assert_all_agree, assert_same
from ..fusion.foreign import ComplexConv

Layer = Callable[..., nn.Module]
LAYERS: dict[str, Layer] = {
    "encoder": partial(nn.Conv2d, 16, 20, (5, 2), (2, 1), (2, 0)),
    "decoder": partial(nn.ConvTranspose2d, 20, 16, (5, 2), (2, 1), (2, 0), (1, 0)),
    "no bias": partial(nn.Conv2d, 16, 16, (3, 3), bias=False),
    "decoder without bias": partial(nn.ConvTranspose2d, 16, 17, 3, 2, bias=False),
    "dilation": partial(nn.Conv2d, 17, 16, (2, 3), 1, 1, (1, 2)),
    "few channels": partial(nn.Conv2d, 1, 4, (5, 2), (2, 1), (2, 0)),
}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def block(layer: Layer, causal: bool = False) -> ComplexConv:
    torch.manual_seed(0)
    conv = ComplexConv(layer).double()
    conv.before = (conv.on_real.kernel_size[1] - 1) * conv.on_real.dilation[1] * causal
    return conv


def results(conv: nn.Module, y_of: Callable[[Tensor], Tensor]) -> list[Tensor]:
    x = random(2, 2 * conv.on_real.in_channels, 9, 7).requires_grad_()
    y = y_of(x)
    return [y, *torch.autograd.grad(y, [x, *conv.parameters()], random(*y.shape, seed=1))]


@layers
@pytest.mark.parametrize("causal", [False, True])
def test_results_and_gradients_are_those_of_four(layer: Layer, causal: bool) -> None:
    conv = block(layer, causal)
    names = ["y", "x", *dict(conv.named_parameters())]
    expected = results(conv, conv)
    for way in (in_one, in_three):
        padded = partial(nn.functional.pad, pad=(conv.before, 0))
        got = results(conv, lambda x, way=way, pad=padded: way(conv.on_real, conv.on_imag, pad(x)))
        assert_all_agree(got, expected, 1e-12, names)
    got = results(conv, lambda x: complex_conv(conv.on_real, conv.on_imag, x, causal=causal))
    assert_all_agree(got, expected, 1e-12, names)


def test_it_can_be_differentiated_twice() -> None:
    conv = block(partial(nn.Conv2d, 2, 1, 2))
    x = random(1, 4, 3, 3).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: in_three(conv.on_real, conv.on_imag, x), x)


@layers
def test_in_float32_it_is_as_exact_as_four(layer: Layer) -> None:
    exact = block(layer)
    conv = copy.deepcopy(exact).float()
    x = random(4, 2 * exact.on_real.in_channels, 33, 31)
    y = exact(x)
    errors = [agreement(way(conv.on_real, conv.on_imag, x.float()), y).relative_l2 for way in (in_one, in_three)]
    assert errors[1] < 3 * errors[0]


def test_others_are_one_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few channels, half types, autocast and recorded graphs."""
    conv = block(LAYERS["encoder"])
    real, imag, x = conv.on_real, conv.on_imag, random(1, 32, 9, 7)
    assert_same(complex_conv(real, imag, x), in_three(real, imag, x))
    recorded = torch.func.vmap(partial(complex_conv, real, imag))(x[None])
    assert_same(recorded[0], in_one(real, imag, x))
    monkeypatch.setattr(module, "in_three", None)
    half = copy.deepcopy(conv).bfloat16()
    complex_conv(half.on_real, half.on_imag, x.bfloat16())
    small = block(LAYERS["few channels"])
    complex_conv(small.on_real, small.on_imag, x[:, :2])
    with torch.autocast("cpu", torch.bfloat16):
        complex_conv(copy.deepcopy(real).float(), copy.deepcopy(imag).float(), x.float())


def test_on_a_gpu_it_is_one_convolution_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors stand for those of a GPU."""
    fallback._warn.cache_clear()
    monkeypatch.setattr(module, "in_one", lambda *inputs: inputs[-1])
    conv = block(LAYERS["encoder"])
    with warnings.catch_warnings(record=True) as caught, torch._subclasses.FakeTensorMode():
        warnings.simplefilter("always")
        complex_conv(conv.on_real, conv.on_imag, torch.empty(1, 32, 9, 7, device="cuda:0"))
    assert ["on CUDA three were not measured" in str(w.message) for w in caught] == [True]


@layers
@pytest.mark.parametrize("causal", [False, True])
def test_fuse_finds_it_and_unfuse_restores_it(layer: Layer, causal: bool) -> None:
    plain = block(layer, causal)
    model = nn.Sequential(copy.deepcopy(plain), nn.ReLU())
    report = fuse(model)
    assert [(finding.path, finding.operator) for finding in report.fused] == [
        ("0", "causal_complex_conv" if causal else "complex_conv")
    ]
    assert not report.left
    assert_all_agree(results(model[0], model[0]), results(plain, plain), 1e-12, ["y", "x", *plain.state_dict()])
    unfuse(model)
    assert type(model[0]) is ComplexConv
    assert_all_agree(results(model[0], model[0]), results(plain, plain), 1e-15, ["y", "x", *plain.state_dict()])


def test_the_layers_may_have_either_order() -> None:
    class Reversed(ComplexConv):
        def forward(self, inputs: Tensor) -> Tensor:
            real, imag = torch.chunk(inputs, 2, 1)
            y_real = self.on_imag(real) - self.on_real(imag)
            return torch.cat([y_real, self.on_real(real) + self.on_imag(imag)], 1)

    plain = Reversed(LAYERS["decoder"]).double()
    model = copy.deepcopy(plain)
    assert [finding.operator for finding in fuse(model).fused] == ["complex_conv"]
    assert_all_agree(results(model, model), results(plain, plain), 1e-12, ["y", "x", *plain.state_dict()])


class Conjugated(ComplexConv):
    def forward(self, inputs: Tensor) -> Tensor:
        real, imag = torch.chunk(inputs, 2, 1)
        y_real = self.on_real(real) + self.on_imag(imag)
        return torch.cat([y_real, self.on_imag(real) - self.on_real(imag)], 1)


class Unequal(ComplexConv):
    def __init__(self) -> None:
        super().__init__(LAYERS["encoder"])
        self.on_imag = nn.Conv2d(16, 20, (5, 2), (2, 1), (2, 0), bias=False)


@pytest.mark.parametrize(
    "model",
    [
        Conjugated(LAYERS["encoder"]),
        Unequal(),
        ComplexConv(LAYERS["encoder"], before=3),
        ComplexConv(partial(nn.Conv2d, 16, 16, 3, groups=2)),
        ComplexConv(partial(nn.Conv2d, 16, 16, 3, padding=1, padding_mode="reflect")),
        nn.Sequential(nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3)),
    ],
    ids=["conjugated", "unequal", "more zeros", "groups", "reflection", "one after the other"],
)
def test_other_pairs_are_left_in_peace(model: nn.Module) -> None:
    report = fuse(model)
    assert (report.fused, report.left) == ([], [])


def test_what_would_no_longer_run_is_told() -> None:
    conv = block(LAYERS["encoder"])
    conv.on_imag.register_forward_hook(lambda *_: None)
    report = fuse(conv)
    assert report.fused == []
    assert [(finding.operator, finding.reason) for finding in report.left] == [
        ("complex_conv", "on_imag has hooks, which would no longer run")
    ]


class Optional(ComplexConv):
    def forward(self, inputs: Tensor, scale: float = 1.0) -> Tensor:
        return super().forward(inputs) * scale


def test_a_forward_with_more_arguments_is_told() -> None:
    conv = Optional(LAYERS["encoder"])
    report = fuse(conv)
    assert report.fused == []
    (left,) = report.left
    assert left.operator == "complex_conv"
    assert left.reason.startswith("its forward takes (inputs: ")
    assert left.reason.endswith(", not one tensor")


class AnyInput(ComplexConv):
    """It takes the two parts as a pair, too, and input without a batch."""

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        real, imag = torch.chunk(inputs, 2, -3) if isinstance(inputs, Tensor) else inputs
        y_real = self.on_real(real) - self.on_imag(imag)
        return torch.cat([y_real, self.on_imag(real) + self.on_real(imag)], -3)


def test_other_input_is_computed_as_before() -> None:
    plain = AnyInput(LAYERS["encoder"]).double()
    fused = copy.deepcopy(plain)
    assert fuse(fused).fused
    x = random(2, 32, 9, 7)
    for given in (x.chunk(2, 1), x[0]):
        assert_same(fused(given), plain(given))
    for channels in (31, 34):
        with pytest.raises(RuntimeError) as ours:
            fused(random(2, channels, 9, 7))
        with pytest.raises(RuntimeError) as theirs:
            plain(random(2, channels, 9, 7))
        assert str(ours.value) == str(theirs.value)
