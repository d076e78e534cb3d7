"""PyTorch's ``FlopCounterMode`` counts the operators as it counts the plain formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from lite_rtse_ext import LiteRTSE, fuse, reference

from .operators import CAUSAL_DWCONV2D, CONV_BLOCK, LSTM, OF_EVERY_TYPE, WITH_LSTM, Operator, Tensors, cotangent


def operations(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def counts(call: Callable[[Tensors], Tensor], tensors: Tensors) -> tuple[int, int]:
    """Of the forward pass, and of the backward pass by the tensors that require gradients."""
    found: list[Tensor] = []
    forward = operations(lambda: found.append(call(tensors)))
    leaves = [t for t in tensors.values() if t.requires_grad]
    return forward, operations(lambda: torch.autograd.grad(found[0], leaves, cotangent(found[0])))


def leaves_of(operator: Operator, **changes: int) -> dict[str, Tensor]:
    return {n: t.requires_grad_() for n, t in operator.inputs(replace(operator.tiny, **changes)).items()}


def test_each_operator_has_a_formula() -> None:
    names = [op.name for op in WITH_LSTM] + [f"{op.name}_backward" for op in WITH_LSTM]
    assert all(getattr(torch.ops.lite_rtse, name) in flop_registry for name in names)


def test_forward_is_that_of_the_formula(any_operator: Operator) -> None:
    tensors = any_operator.inputs(any_operator.usual)
    found = operations(lambda: any_operator(tensors))
    assert found == operations(lambda: any_operator.reference(tensors))
    assert (found > 0) != any_operator.pointwise


def test_backward_is_twice_the_forward(any_operator: Operator) -> None:
    """One product by the input, one by the weight."""
    forward, backward = counts(any_operator, leaves_of(any_operator))
    assert backward == 2 * forward


@pytest.mark.parametrize("operator", [CAUSAL_DWCONV2D, CONV_BLOCK, LSTM], ids=str)
def test_backward_is_that_of_the_formula(operator: Operator) -> None:
    """Of one channel: PyTorch counts the weight's gradient of a depthwise convolution as that of a dense one."""
    tensors = leaves_of(operator, channels=1)
    assert counts(operator, tensors) == counts(operator.reference, tensors)


@pytest.mark.parametrize("frozen", [("x",), ("weight_ih", "weight_hh", "bias_ih", "bias_hh")])
def test_what_an_lstm_does_not_compute_is_not_counted(frozen: tuple[str, ...]) -> None:
    tensors = leaves_of(LSTM)
    for name in frozen:
        tensors[name].requires_grad_(False)
    assert counts(LSTM, tensors) == counts(LSTM.reference, tensors)


@pytest.mark.parametrize("operator", [CAUSAL_DWCONV2D, CONV_BLOCK], ids=str)
def test_what_a_convolution_does_not_compute_is_not_counted(operator: Operator) -> None:
    """Of one channel, as above. PyTorch does not compute the gradient of x if x needs none, nor those of parameters."""
    for frozen in (lambda name: name == "x", lambda name: name != "x"):
        tensors = {n: t.detach().requires_grad_(not frozen(n)) for n, t in leaves_of(operator, channels=1).items()}
        assert counts(operator, tensors) == counts(operator.reference, tensors)


@pytest.mark.parametrize("operator", OF_EVERY_TYPE, ids=str)
def test_double_backward_is_counted(operator: Operator) -> None:
    """It runs in plain PyTorch."""
    tensors = leaves_of(operator)
    y = operator(tensors)
    first = torch.autograd.grad(y, list(tensors.values()), cotangent(y), create_graph=True)
    penalty = sum(g.square().sum() for g in first)
    assert (operations(lambda: penalty.backward()) > 0) != operator.pointwise


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_a_network_before_and_after_fuse() -> None:
    """Without oneDNN, for whose LSTM PyTorch counts nothing."""
    x = torch.randn(1, 33, 6, 2)
    network, fused = (kind(bins=33, channels=8, order=2) for kind in (reference.LiteRTSE, LiteRTSE))
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        before = operations(lambda: network(x))
        fuse(network)
        assert before == operations(lambda: network(x)) == operations(lambda: fused(x)) > 0
