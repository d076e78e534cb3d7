"""The operator ``lstm`` in reverse: the same as forward on sequences whose frames are in reverse order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import jvp

from lite_rtse_ext.ops import lstm

from ..compare import assert_all_agree, assert_all_same
from .operators import Recorder
from .test_lstm import INPUTS, Arguments, arguments, flat

SHAPES = [(3, 1, 5, 9), (3, 7, 5, 9), (2, 300, 6, 10), (33, 40, 6, 10), (1, 63, 40, 70)]
Values = dict[str, Tensor | None]


def outputs(values: Values, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """y, h and c, in the order of the frames of x. The operator in reverse, or forward on frames in reverse order."""
    x, *others = (values[name] for name in INPUTS[:5])
    state = None if values["h0"] is None else (values["h0"], values["c0"])
    y, (h, c) = lstm(x if reverse else x.flip(1), *others, state=state, reverse=reverse)
    return y if reverse else y.flip(1), h, c


def everything(given: Arguments, reverse: bool, order: int = 1) -> list[Tensor]:
    values = {name: None if v is None else v.clone().requires_grad_() for name, v in flat(given).items()}
    leaves = [v for v in values.values() if v is not None]
    y, h, c = found = outputs(values, reverse)
    weight = torch.linspace(-1, 1, y.numel()).view(y.shape)
    total = (y * weight).sum() + h.sum() + c.square().sum()
    for _ in range(order):
        grads = torch.autograd.grad(total, leaves, create_graph=order > 1)
        total = sum(g.square().sum() for g in grads)
    return [*(t.detach() for t in found), *grads]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("optional", [True, False])
def test_results_and_gradients(shape: tuple[int, ...], optional: bool) -> None:
    given = arguments(*shape, bias=optional, state=optional)
    found, expected = everything(given, reverse=True), everything(given, reverse=False)
    names = [str(i) for i in range(len(found))]
    assert_all_same(found[:4], expected[:4], names[:4])  # y, h, c and the gradient of x: no sum over frames
    assert_all_agree(found, [t.double() for t in expected], 1e-5, names)


def test_second_derivatives() -> None:
    given = arguments(2, 4, 3, 5)
    found, expected = everything(given, reverse=True, order=2), everything(given, reverse=False, order=2)
    assert_all_agree(found, [t.double() for t in expected], 1e-5, [str(i) for i in range(len(found))])


def test_forward_mode() -> None:
    values = flat(arguments(2, 4, 3, 5))
    tangents = {name: v.cos() for name, v in values.items()}
    found, expected = (jvp(lambda v, r=r: outputs(v, r), (values,), (tangents,)) for r in (True, False))
    for ours, theirs in zip(found, expected, strict=True):
        assert_all_agree(ours, [t.double() for t in theirs], 1e-5, ("y", "h", "c"))


def test_cut_in_two_it_is_the_same() -> None:
    given = arguments(2, 50, 5, 19)
    y, (h, c) = lstm(**given, reverse=True)
    second, state = lstm(**given | {"x": given["x"][:, 20:]}, reverse=True)
    first, end = lstm(**given | {"x": given["x"][:, :20], "state": state}, reverse=True)
    assert_all_same((torch.cat([first, second], 1), *end), (y, h, c), ("y", "h", "c"))


def test_opcheck() -> None:
    with Recorder() as recorder:
        everything(arguments(2, 2, 3, 3), reverse=True)
    assert len(recorder.calls) == 2
    for function, args in recorder.calls:
        leaves = torch.utils._pytree.tree_map_only(Tensor, lambda t: t.detach().requires_grad_(), args)
        torch.library.opcheck(function, leaves)
