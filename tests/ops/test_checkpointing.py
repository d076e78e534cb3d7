"""What a forward pass saves may be unpacked once: by activation checkpointing, and by hooks of one's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from lite_rtse_ext import ops
from lite_rtse_ext.nn import LSTM, CausalDepthwiseConv2d, ConvBlock, MultiOrderConv

from ..compare import assert_all_agree, assert_all_same
from .operators import WITH_LSTM, Operator, Shape, Tensors, cotangent
from .recurrent import Gru, Lstm
from .test_strides import sliced


def non_reentrant(f: Callable[..., Tensor], *values: Tensor) -> Tensor:
    return checkpoint(f, *values, use_reentrant=False)


def nested(f: Callable[..., Tensor], *values: Tensor) -> Tensor:
    return checkpoint(lambda *v: checkpoint(f, *v, use_reentrant=False), *values, use_reentrant=False)


def kept_on_the_cpu(f: Callable[..., Tensor], *values: Tensor) -> Tensor:
    with save_on_cpu():
        return f(*values)


def compiled(f: Callable[..., Tensor], *values: Tensor) -> Tensor:
    torch._dynamo.reset()
    return torch.compile(lambda *v: non_reentrant(f, *v), backend="aot_eager")(*values)


def leaves_of(operator: Operator) -> dict[str, Tensor]:
    return {n: t.requires_grad_() for n, t in operator.inputs(operator.tiny, dtype=operator.exact).items()}


def first_and_second(operator: Operator, leaves: Tensors, call: Callable[..., Tensor], second: bool) -> list[Tensor]:
    tensors = list(leaves.values())
    y = call(operator.flat(leaves), *tensors)
    first = torch.autograd.grad(y, tensors, cotangent(y), create_graph=second)
    if not second:
        return list(first)
    penalty = sum(g.square().sum() for g in first)
    return [*first, *torch.autograd.grad(penalty, tensors, allow_unused=True, materialize_grads=True)]


@pytest.mark.parametrize("way", [non_reentrant, nested, kept_on_the_cpu, compiled])
def test_gradients_are_the_same(any_operator: Operator, way: Callable[..., Tensor]) -> None:
    leaves = leaves_of(any_operator)
    second = way in (non_reentrant, nested, kept_on_the_cpu)
    expected = first_and_second(any_operator, leaves, lambda f, *v: f(*v), second)
    found = first_and_second(any_operator, leaves, way, second)
    assert_all_same(found, expected, [str(i) for i in range(len(found))])


def test_each_saved_tensor_is_unpacked_once(any_operator: Operator) -> None:
    """In the first backward pass and in the second: each unpacking may be a copy from another memory."""
    leaves = leaves_of(any_operator)
    unpacked: list[int] = []
    packed: list[Tensor] = []

    def pack(tensor: Tensor) -> int:
        packed.append(tensor)
        return len(packed) - 1

    def unpack(index: int) -> Tensor:
        unpacked.append(index)
        return packed[index]

    with saved_tensors_hooks(pack, unpack):
        first_and_second(any_operator, leaves, lambda f, *v: f(*v), second=False)
        assert unpacked
        assert len(unpacked) == len(set(unpacked))


class BackwardLstm(Lstm):
    """The direction that begins at the last frame."""

    def __call__(self, tensors: Tensors) -> Tensor:
        *arguments, h, c = tensors.values()
        y, (h, c) = ops.lstm(*arguments, (h, c), reverse=True)
        return torch.cat([y, h[:, None], c[:, None]], 1)


class BidirectionalGru(Gru):
    tiny = Shape(batch=2, frames=3, bins=4, channels=3, directions=2)


def batch_first(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def frames_first(tensor: Tensor) -> Tensor:
    """The first two dimensions swapped in memory."""
    return batch_first(tensor.transpose(0, 1)).transpose(0, 1) if tensor.dim() > 2 else batch_first(tensor)


@pytest.mark.parametrize("second", [False, True], ids=["first order", "second order"])
@pytest.mark.parametrize("unpacked", [batch_first, frames_first, sliced])
@pytest.mark.parametrize("given", [batch_first, frames_first])
@pytest.mark.parametrize("each", [*WITH_LSTM, BackwardLstm(), BidirectionalGru()], ids=lambda o: type(o).__name__)
def test_saved_tensors_in_another_memory_order(
    each: Operator, given: Callable[[Tensor], Tensor], unpacked: Callable[[Tensor], Tensor], second: bool
) -> None:
    """A hook may return the same values in any order, for x and for what the forward pass computed from it."""
    leaves = {name: given(t.detach()).requires_grad_() for name, t in leaves_of(each).items()}
    expected = first_and_second(each, leaves, lambda f, *v: f(*v), second)
    with saved_tensors_hooks(unpacked, lambda tensor: tensor):
        found = first_and_second(each, leaves, lambda f, *v: f(*v), second)
    assert_all_agree(found, [t.double() for t in expected], 1e-5, [str(i) for i in range(len(found))])


class Hidden(nn.Module):
    """The first of an LSTM's results, so that it can stand in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = LSTM(6, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x.flatten(0, 1))[0].unflatten(0, x.shape[:2])


def test_a_row_of_modules() -> None:
    row = nn.Sequential(CausalDepthwiseConv2d(4, 3), ConvBlock(4, 4), MultiOrderConv(8, 2), Hidden())
    x = torch.randn(2, 4, 5, 6, requires_grad=True)
    tensors = [x, *row.parameters()]
    expected = torch.autograd.grad(row(x).sum(), tensors)
    found = torch.autograd.grad(checkpoint_sequential(row, 2, x, use_reentrant=False).sum(), tensors)
    assert_all_same(found, expected, [str(i) for i in range(len(found))])
