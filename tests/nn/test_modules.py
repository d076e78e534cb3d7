"""What every fused module has in common: it is the reference module in parameters, values, gradients and handling."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from lite_rtse_ext import nn as fused
from lite_rtse_ext import reference

from ..compare import assert_agrees, assert_all_agree, assert_no_worse, assert_same
from ..fusion.changes import CHANGES


@dataclass(frozen=True)
class Case:
    make_fused: Callable[[], nn.Module]
    make_plain: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]

    def modules(self, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        ours = self.make_fused().to(dtype)
        torch.manual_seed(0)
        return ours, self.make_plain().to(dtype)

    def inputs(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        generator = torch.Generator().manual_seed(1)
        return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in self.shapes]


def case(name: str, shapes: tuple[tuple[int, ...], ...], *args: object, **kwargs: object) -> Case:
    return Case(
        lambda: getattr(fused, name)(*args, **kwargs), lambda: getattr(reference, name)(*args, **kwargs), shapes
    )


BINS = ((2, 6, 5),)
CASES = {
    "dwconv3": case("CausalDepthwiseConv2d", ((2, 4, 6, 9),), 4, 3),
    "dwconv5x3-no-bias": case("CausalDepthwiseConv2d", ((2, 4, 6, 9),), 4, (5, 3), bias=False),
    "conv_block": case("ConvBlock", ((2, 3, 6, 9),), 3, 8),
    "conv_block-full": case("ConvBlock", ((2, 3, 6, 9),), 3, 8, depthwise=False),
    "multi_order": case("MultiOrderConv", ((2, 4, 8, 9),), 8, 3),
    "multi_order-wide": case("MultiOrderConv", ((2, 3, 6, 9),), 8, 4, in_channels=3, out_channels=8, kernel_size=3),
    "mask_residual": case("MaskResidual", ((2, 5, 6, 2), *BINS * 4)),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def value_and_gradients(module: nn.Module, inputs: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = module(*leaves)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(y)
    return y, list(torch.autograd.grad((y * weight).sum(), [*leaves, *module.parameters()]))


@cases
def test_same_parameters_from_the_same_seed(case: Case) -> None:
    ours, plain = case.modules()
    assert list(ours.state_dict()) == list(plain.state_dict())
    for key, value in plain.state_dict().items():
        assert_same(ours.state_dict()[key], value, key)


@cases
@pytest.mark.parametrize(("dtype", "forward", "backward"), [(torch.float64, 1e-12, 1e-12), (torch.float32, 2e-6, 1e-5)])
def test_value_and_gradients_are_the_references(
    case: Case, dtype: torch.dtype, forward: float, backward: float
) -> None:
    ours, plain = case.modules()
    inputs = case.inputs(dtype)
    plain.load_state_dict(ours.to(dtype).state_dict())  # the very values that ours holds, in float64
    expected, expected_gradients = value_and_gradients(plain, [x.double() for x in inputs])
    y, gradients = value_and_gradients(ours, inputs)
    assert y.dtype == dtype
    assert_agrees(y, expected, forward)
    names = [*(f"input {k}" for k in range(len(inputs))), *dict(ours.named_parameters())]
    assert_all_agree(gradients, expected_gradients, backward, names)


@cases
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_no_worse_than_eager(case: Case, dtype: torch.dtype) -> None:
    ours, plain = case.modules(dtype)
    inputs = case.inputs(dtype)
    exact = copy.deepcopy(plain).double()(*(x.double() for x in inputs))
    assert_no_worse(ours(*inputs), plain(*inputs), exact, slack=1.1)


@cases
def test_copies_and_pickles_stand_on_their_own(case: Case) -> None:
    ours, _ = case.modules()
    inputs = case.inputs()
    expected = ours(*inputs)
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    for twin in (copy.deepcopy(ours), torch.load(file, weights_only=False)):
        assert type(twin) is type(ours)
        assert_same(twin(*inputs), expected)
        for parameter in twin.parameters():
            parameter.data.zero_()
    assert_same(ours(*inputs), expected)


@cases
def test_moves_dtype(case: Case) -> None:
    ours, _ = case.modules()
    assert ours.float()(*case.inputs(torch.float32)).dtype == torch.float32
    assert ours.double()(*case.inputs()).dtype == torch.float64


@cases
def test_meta_device_gives_shapes(case: Case) -> None:
    ours, _ = case.modules(torch.float32)
    inputs = case.inputs(torch.float32)
    assert ours.to("meta")(*(x.to("meta") for x in inputs)).shape == case.modules(torch.float32)[0](*inputs).shape


@cases
def test_compiles_whole(case: Case) -> None:
    ours, _ = case.modules()
    inputs = case.inputs()
    torch._dynamo.reset()
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    expected, expected_gradients = value_and_gradients(ours, inputs)
    y, gradients = value_and_gradients(compiled, inputs)
    assert_agrees(y, expected, 1e-12)
    assert_all_agree(gradients, expected_gradients, 1e-12, [str(k) for k in range(len(gradients))])


@cases
def test_wrong_dtype_is_refused(case: Case) -> None:
    ours, _ = case.modules(torch.float32)
    first, *rest = case.inputs(torch.float32)
    with pytest.raises((TypeError, ValueError, RuntimeError), match=r"(?i)float|double|dtype|type"):
        ours(first.double(), *rest)


@pytest.mark.parametrize("name", ["dwconv3", "conv_block", "multi_order"])
def test_wrong_channel_count_is_refused(name: str) -> None:
    ours, _ = CASES[name].modules()
    (x,) = CASES[name].inputs()
    with pytest.raises((ValueError, RuntimeError), match=r"\b3\b|\b5\b|channel"):
        ours(torch.cat([x, x[:, :1]], dim=1))
    with pytest.raises((ValueError, RuntimeError)):
        ours(x[0, 0])


def test_parametrized_weight_is_read_and_trained() -> None:
    """A weight computed from others, as weight norm does, is computed anew in every forward."""
    ours, plain = CASES["conv_block"].modules()
    for module in (ours, plain):
        nn.utils.parametrizations.weight_norm(module.conv[2])
        module.conv[2].parametrizations.weight.original0.data.mul_(3)
    inputs = CASES["conv_block"].inputs()
    expected, expected_gradients = value_and_gradients(plain, inputs)
    y, gradients = value_and_gradients(ours, inputs)
    assert_agrees(y, expected, 1e-12)
    assert_all_agree(gradients, expected_gradients, 1e-12, ["x", *dict(ours.named_parameters())])


def test_mask_residual_is_finite_on_silence() -> None:
    inputs = CASES["mask_residual"].inputs()
    inputs[0][:, 1:3] = 0
    inputs[3][:, :, 1], inputs[4][:, :, 1] = 0, 0
    y, gradients = value_and_gradients(fused.MaskResidual(), inputs)
    assert torch.equal(y[:, 1:3], torch.zeros_like(y[:, 1:3]))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    _, plain_gradients = value_and_gradients(reference.MaskResidual(), inputs)
    assert bool(plain_gradients[0][:, 1:3].isnan().all())
    assert_agrees(gradients[0][:, [0, 3, 4]], plain_gradients[0][:, [0, 3, 4]], 1e-12)


def test_description_says_what_it_is() -> None:
    assert repr(fused.CausalDepthwiseConv2d(4, 3)) == "CausalDepthwiseConv2d(4, kernel_size=(3, 3))"
    assert "bias=False" in repr(fused.CausalDepthwiseConv2d(4, (5, 3), bias=False))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("block", "path"),
    [*product(["conv_block"], ["conv.2", "skip"]), *product(["multi_order"], ["pwconv1", "dwconvs.1.1", "pwconvs.0"])],
)
def test_what_was_put_in_the_place_of_a_convolution_is_called(
    block: str, path: str, change: Callable[..., nn.Module]
) -> None:
    modules, (x,) = CASES[block].modules(), CASES[block].inputs()
    before = modules[0](x)
    for module in modules:
        torch.manual_seed(2)
        module.set_submodule(path, change(module.get_submodule(path)).double())
    ours, plain = (module(x) for module in modules)
    assert_agrees(ours, plain, 1e-12)
    assert (ours - before).abs().max() > 1e-6
