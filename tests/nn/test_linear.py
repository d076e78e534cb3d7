"""``nn.Linear`` of this package: torch's module in all but how it runs on the CPU."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from lite_rtse_ext import LiteRTSE, fuse, unfuse
from lite_rtse_ext import nn as fused
from lite_rtse_ext.nn import linear

from ..compare import assert_agrees, assert_all_agree, assert_same

pytestmark = pytest.mark.skipif(not linear._has_both_libraries(), reason="PyTorch has not both MKL and oneDNN")

SIZES = (160, 96)
LAYOUTS = {
    "rows": lambda x: x,
    "sequences": lambda x: x.view(13, 50, -1),
    "frames first": lambda x: x.view(13, 50, -1).transpose(0, 1),
    "features": lambda x: x.view(2, -1, 5, 65).permute(0, 2, 3, 1),
    "every other row": lambda x: x.repeat_interleave(2, 0)[::2],
}


@pytest.fixture(autouse=True)
def an_amd_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The results are the same on any processor."""
    monkeypatch.setattr(linear, "_is_amd", lambda: True)


class Convolutions(TorchDispatchMode):
    """Counts the convolutions that PyTorch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten.convolution.default
        return func(*args, **(kwargs or {}))


def both(*sizes: int, **options: Any) -> tuple[fused.Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, plain = (kind(*sizes, **options) for kind in (fused.Linear, nn.Linear))
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def rows(count: int = 650, width: int = SIZES[0]) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_computes_the_same_by_convolutions(layout: str, bias: bool) -> None:
    ours, plain = both(*SIZES, bias=bias)
    results = []
    for module, dtype in ((ours, torch.float32), (plain.double(), torch.float64)):
        x = LAYOUTS[layout](rows().to(dtype)).requires_grad_()
        with Convolutions() as convolutions:
            y = module(x)
            weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
            gradients = torch.autograd.grad((y * weight).sum(), [x, *module.parameters()])
        assert convolutions.count == (2 if module is ours else 0)
        results.append([y.double(), *(each.double() for each in gradients)])
    assert_all_agree(*results, 1e-6, ["y", "x", "weight", "bias"][: len(results[0])])
    with torch.no_grad(), Convolutions() as convolutions:
        assert_agrees(ours(LAYOUTS[layout](rows())).double(), results[1][0], 1e-6)
    assert convolutions.count == 1


def test_only_the_wanted_gradients_are_computed() -> None:
    ours, plain = both(*SIZES)
    for module in (ours, plain):
        module.weight.requires_grad_(False)
        module(rows()).square().sum().backward()
    assert_agrees(ours.bias.grad, plain.bias.grad, 1e-5)
    assert ours.weight.grad is None


def test_the_result_may_be_changed_in_place() -> None:
    results = []
    for module in both(*SIZES):
        x = rows().requires_grad_()
        y = nn.functional.relu(module(x), inplace=True)
        results.append([y, *torch.autograd.grad(y.square().mean(), [x, *module.parameters()])])
    assert_all_agree(*results, 1e-6, ["y", "x", "weight", "bias"])


def test_second_derivatives_agree() -> None:
    results = []
    for module in both(*SIZES):
        x = rows().requires_grad_()
        (first,) = torch.autograd.grad(module(x).pow(3).mean(), x, create_graph=True)
        results.append(torch.autograd.grad(first.square().sum() * 1e6, [x, *module.parameters()]))
    assert_all_agree(*results, 1e-4, ["x", "weight", "bias"])


SMALL = {"few rows": (SIZES, rows(8)), "few weights": ((32, 32), rows(8192, 32)), "one row": (SIZES, rows(1)[0])}


@pytest.mark.parametrize(("sizes", "x"), SMALL.values(), ids=SMALL)
def test_a_small_product_is_torchs(sizes: tuple[int, int], x: Tensor) -> None:
    ours, plain = both(*sizes)
    with Convolutions() as convolutions:
        assert_same(ours(x), plain(x))
    assert convolutions.count == 0


def test_other_types_transforms_and_errors_are_torchs() -> None:
    ours, plain = both(*SIZES)
    with Convolutions() as convolutions:
        with torch.autocast("cpu", torch.bfloat16):
            assert_same(ours(rows()), plain(rows()))
        with forward_ad.dual_level():
            for x in (forward_ad.make_dual(rows(), rows()),):
                assert_same(*(forward_ad.unpack_dual(module(x)).tangent for module in (ours, plain)))
        assert_same(*(torch.func.vmap(module)(rows(1300).view(2, 650, -1)) for module in (ours, plain)))
        with torch.backends.mkldnn.flags(enabled=False):
            assert_same(ours(rows()), plain(rows()))
        assert_same(copy.deepcopy(ours).double()(rows().double()), copy.deepcopy(plain).double()(rows().double()))
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            ours(rows(650, 159))
    assert convolutions.count == 0


class Quantized(Tensor):
    """A weight as torchao's: it calls itself float32, and knows linear layers only."""

    @staticmethod
    def __new__(cls, weight: Tensor) -> Quantized:
        own: Quantized = Tensor._make_wrapper_subclass(cls, weight.shape, dtype=weight.dtype)
        own.held = weight.detach()
        return own

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.linear:
            return func(args[0], args[1].held, *args[2:])
        return super().__torch_function__(func, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].held)
        raise NotImplementedError(f"{func} of a quantized weight")


@torch.no_grad()
def test_a_weight_of_another_kind_is_torchs() -> None:
    for module in both(*SIZES):
        expected = nn.Linear.forward(module, rows())
        module.weight = nn.Parameter(Quantized(module.weight), requires_grad=False)
        with Convolutions() as convolutions:
            for found in (module(rows()), linear.run_linear(module, rows())):
                assert_same(found, expected)
        assert convolutions.count == 0


def test_run_linear_computes_a_module_of_torch_by_convolutions() -> None:
    _, plain = both(*SIZES)
    x = rows()
    with Convolutions() as convolutions:
        found = linear.run_linear(plain, x)
    assert convolutions.count == 1
    assert_agrees(found, plain(x), 1e-6)


def test_run_linear_calls_a_module_with_hooks_or_of_another_class() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    _, plain = both(*SIZES)
    doubled = Doubled(*SIZES)
    doubled.load_state_dict(plain.state_dict())
    hooked = copy.deepcopy(plain)
    hooked.register_forward_hook(lambda module, inputs, y: 2 * y)
    with Convolutions() as convolutions:
        for module in (doubled, hooked):
            assert_same(linear.run_linear(module, rows()), 2 * plain(rows()))
    assert convolutions.count == 0


def test_the_network_runs_its_linear_layers_so() -> None:
    model = LiteRTSE(channels=16)
    with torch.no_grad(), Convolutions() as convolutions:
        model(torch.randn(1, 257, 130, 2))
    assert convolutions.count == 5


@torch.no_grad()
def test_on_another_processor_it_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_is_amd", lambda: False)
    ours, plain = both(*SIZES)
    with Convolutions() as convolutions:
        found = ours(rows())
    assert convolutions.count == 0
    assert_same(found, plain(rows()))


def test_fuse_finds_the_large_ones() -> None:
    model = nn.Sequential(nn.Linear(*SIZES), nn.ReLU(), nn.Linear(SIZES[1], 8))
    plain = copy.deepcopy(model)
    report = fuse(model)
    assert [finding.path for finding in report.fused] == ["0"]
    assert not report.left
    with torch.no_grad():
        assert_agrees(model(rows()), plain(rows()), 1e-6)
    assert unfuse(model) == ["0"]
