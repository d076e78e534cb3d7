"""``nn.ConvTranspose2d`` of this package: torch's module in all but how it runs."""

from __future__ import annotations

import copy
import itertools
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext import fuse, ops
from lite_rtse_ext import nn as fused
from lite_rtse_ext.nn import conv_transpose2d
from lite_rtse_ext.nn.conv_transpose2d import becomes_convolution, is_depthwise
from lite_rtse_ext.utils import fallback

from ..compare import assert_agrees, assert_all_agree, assert_same
from ..ops.operators import Recorder


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def both(*sizes: Any, **options: Any) -> tuple[fused.ConvTranspose2d, nn.ConvTranspose2d]:
    torch.manual_seed(0)
    ours, plain = (kind(*sizes, **options).double() for kind in (fused.ConvTranspose2d, nn.ConvTranspose2d))
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@torch.no_grad()
@pytest.mark.parametrize("kernel", list(itertools.product((1, 2, 3), (1, 2, 3, 5))), ids=str)
def test_inference_is_an_ordinary_convolution(kernel: tuple[int, int]) -> None:
    """Every stride, padding, dilation, output padding, number of groups, with and without a bias."""
    seen = set()
    for stride, *padding, dilation, more, groups, bias in itertools.product(
        ((1, 1), (1, 2)), (0, 1, 2), (0, 1, 2), ((1, 1), (2, 1), (2, 2)), (0, 1), (1, 2), (True, False)
    ):
        options = {"padding": padding, "output_padding": (0, more), "dilation": dilation, "groups": groups}
        ours, plain = both(4, 6, kernel, stride, **options, bias=bias)
        try:
            expected = plain(random(2, 4, 5, 7))
        except RuntimeError:  # no output, or too much output padding
            continue
        y = ours(random(2, 4, 5, 7))
        assert_agrees(y, expected, 1e-13)
        assert y.is_contiguous()
        seen.add(becomes_convolution(ours))
    assert True in seen


@pytest.mark.parametrize("padding", [0, 1, 4, 6])
@pytest.mark.parametrize("dilation", [1, 3])
def test_a_depthwise_one_runs_the_operator_in_training(dilation: int, padding: int) -> None:
    if padding > 2 * dilation:
        pytest.skip("more padding than the kernel has frames")
    options = {"padding": (padding, 1), "dilation": (dilation, 1), "groups": 5}
    ours, plain = both(5, 5, 3, **options)
    assert is_depthwise(ours)
    results = []
    for module in (ours, plain):
        x = random(2, 5, 9, 7).requires_grad_()
        with Recorder() as recorder:
            y = module(x)
        assert bool(recorder.calls) == (module is ours)
        assert y.is_contiguous()
        results.append([y, *torch.autograd.grad((y * random(*y.shape, seed=1)).sum(), [x, *module.parameters()])])
    assert_all_agree(*results, 1e-12, ["y", "x", "weight", "bias"])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1)], ids=str)
@pytest.mark.parametrize("kernel", [(2, 2), (2, 3), (2, 5)], ids=str)
def test_stride_2_has_the_same_gradients(kernel: tuple[int, int], padding: tuple[int, int], bias: bool) -> None:
    ours, plain = both(4, 6, kernel, (1, 2), padding, bias=bias)
    results = []
    for module in (ours, plain):
        x = random(2, 4, 5, 7).requires_grad_()
        y = module(x)
        assert (type(y.grad_fn) is type(plain(x).grad_fn)) == (module is plain)
        assert y.is_contiguous()
        results.append([y, *torch.autograd.grad(y, [x, *module.parameters()], random(*y.shape, seed=1))])
    assert_all_agree(*results, 1e-12, ["y", "x", "weight", *["bias"] * bias])


@pytest.mark.parametrize("padding", [(0, 0), (1, 1)], ids=str)
@pytest.mark.parametrize("kernel", [(2, 2), (2, 3), (2, 5)], ids=str)
def test_stride_2_keeps_channels_last(kernel: tuple[int, int], padding: tuple[int, int]) -> None:
    ours, plain = both(4, 6, kernel, (1, 2), padding)
    x = random(2, 4, 5, 7).contiguous(memory_format=torch.channels_last)
    expected = plain(x)
    for y in (ours(x), torch.no_grad()(ours)(x)):
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert not y.is_contiguous()
        assert_agrees(y, expected, 1e-12)
        assert_agrees(y.mul_(2), 2 * expected, 1e-12)


def test_stride_2_can_be_differentiated_twice() -> None:
    ours, _ = both(2, 3, (2, 3), (1, 2))
    assert torch.autograd.gradgradcheck(ours, random(1, 2, 3, 4).requires_grad_())


def test_stride_2_under_functional_transforms_is_torchs() -> None:
    ours, plain = both(4, 6, (2, 3), (1, 2))
    x = random(2, 4, 5, 7)
    for transform in (torch.func.grad, torch.func.jacfwd):
        assert_agrees(
            transform(lambda x: ours(x).square().sum())(x), transform(lambda x: plain(x).square().sum())(x), 1e-12
        )
    assert_agrees(torch.vmap(ours)(x[:, None]), torch.vmap(plain)(x[:, None]), 1e-12)


@pytest.mark.parametrize("options", [{"stride": (1, 1)}, {"stride": (1, 2), "groups": 2}], ids=["stride 1", "groups"])
def test_training_otherwise_is_torchs(options: dict[str, Any]) -> None:
    ours, plain = both(4, 6, (2, 3), **options)
    x = random(2, 4, 5, 7)
    assert_same(ours(x), plain(x))


@pytest.mark.parametrize("size", [(2, 4, 1, 5), (2, 4, 0, 5), (2, 4, 5, 0)], ids=str)
@pytest.mark.parametrize("options", [{"groups": 4}, {"stride": (1, 2)}, {}], ids=str)
def test_no_result_is_torchs_error(options: dict[str, Any], size: tuple[int, ...]) -> None:
    for module in both(4, 4, 3, padding=(2, 1), **options):
        for context in (torch.enable_grad(), torch.no_grad()):
            with context, pytest.raises(RuntimeError, match=r"[Oo]utput size is too small|Only zero batch"):
                module(random(*size))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "options", [{"stride": (1, 2), "groups": 2}, {"stride": 2}, {"stride": (2, 1), "dilation": 2}], ids=str
)
def test_float32_adds_the_bias_after_the_convolution(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], training: bool
) -> None:
    """PyTorch's convolution gets no bias. The result and all gradients are those of the module."""
    biases, convolve = [], functional.conv_transpose2d

    def noted(x: Tensor, weight: Tensor, bias: Tensor | None, *others: Any) -> Tensor:
        biases.append(bias)
        return convolve(x, weight, bias, *others)

    monkeypatch.setattr(functional, "conv_transpose2d", noted)
    ours, plain = both(4, 6, (2, 3), **options)
    results = []
    for module, dtype in ((ours.float(), torch.float32), (plain, torch.float64)):
        x = random(2, 4, 5, 7).to(dtype).requires_grad_()
        with torch.set_grad_enabled(training):
            y = module(x)
        grads = torch.autograd.grad(y, [x, *module.parameters()], random(*y.shape).to(dtype)) if training else ()
        results.append([t.double() for t in (y, *grads)])
    assert biases[0] is None
    assert biases[1] is plain.bias
    assert_all_agree(*results, 1e-6, ["y", "x", "weight", "bias"][: len(results[0])])


def test_given_sizes_and_autocast_are_torchs() -> None:
    ours, plain = both(4, 6, (2, 3), (1, 2))
    x = random(2, 4, 5, 7)
    with torch.no_grad():
        assert_same(ours(x, output_size=[6, 16]), plain(x, output_size=[6, 16]))
        with torch.autocast("cpu", torch.bfloat16):
            assert_same(ours.float()(x.float()), plain.float()(x.float()))


def test_a_later_weight_is_used() -> None:
    ours, plain = both(4, 6, (2, 3), (1, 2))
    with torch.no_grad():
        ours(random(1, 4, 5, 7))
        for module in (ours, plain):
            module.weight.data.mul_(2)
        assert_agrees(ours(random(1, 4, 5, 7)), plain(random(1, 4, 5, 7)), 1e-13)


def test_on_a_gpu_it_is_torchs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors stand for those of a GPU."""
    fallback._warn.cache_clear()
    monkeypatch.setattr(nn.ConvTranspose2d, "forward", lambda module, x, output_size=None: x)
    with warnings.catch_warnings(record=True) as caught, torch._subclasses.FakeTensorMode():
        warnings.simplefilter("always")
        fused.ConvTranspose2d(4, 6, 3)(torch.empty(2, 4, 5, 7, device="cuda:0"))
    assert ["on CUDA cuDNN computes it" in str(w.message) for w in caught] == [True]


def test_on_a_gpu_a_depthwise_one_runs_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors stand for those of a GPU."""
    devices = []
    monkeypatch.setattr(ops, "has_cuda", lambda: True)
    monkeypatch.setattr(nn.ConvTranspose2d, "reset_parameters", lambda self: None)
    monkeypatch.setattr(conv_transpose2d, "_causal", lambda layer, x: devices.append(x.device))
    with torch._subclasses.FakeTensorMode():
        layer = fused.ConvTranspose2d(4, 4, 3, padding=(2, 1), groups=4, device="cuda:0")
        layer(torch.empty(2, 4, 5, 7, device="cuda:0"))
    assert devices == [torch.device("cuda:0")]


def test_fuse_finds_those_that_it_can_speed_up() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.ConvTranspose2d(4, 4, 3, padding=(4, 1), dilation=(2, 1), groups=4),
        nn.ConvTranspose2d(4, 6, (2, 3), (1, 2)),
        nn.ConvTranspose2d(6, 4, 3, stride=2),
        nn.ConvTranspose2d(4, 2, 3, stride=2, bias=False),
    )
    model = copy.deepcopy(plain)
    assert [finding.path for finding in fuse(model).fused] == ["0", "1", "2"]
    x = random(2, 4, 9, 7).float()
    assert_agrees(model(x), plain(x), 1e-5)
    with torch.no_grad():
        assert_agrees(model(x), plain(x), 1e-5)
