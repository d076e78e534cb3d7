"""Second and third derivatives of the operator ``lstm``, which go through plain PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ..compare import assert_all_agree, assert_same
from .test_lstm import INPUTS, NAMES, Arguments, arguments, flat, torch_outputs
from .test_lstm_gradients import outputs, upstream


def second_derivatives(
    given: Arguments, names: tuple[str, ...], wanted: tuple[str, ...], dtype: torch.dtype
) -> list[Tensor]:
    """Of a scalar of the first gradients: by the inputs, and by what came in from above. In float64: PyTorch's."""
    values = {n: None if v is None else v.to(dtype).requires_grad_() for n, v in flat(given).items()}
    above = {n: g.to(dtype).requires_grad_() for n, g in upstream(given).items() if n in names}
    found = dict(zip(NAMES, (outputs if dtype == torch.float32 else torch_outputs)(values), strict=True))
    present = [n for n in wanted if values[n] is not None]
    first = torch.autograd.grad(
        [found[n] for n in names], [values[n] for n in present], list(above.values()), create_graph=True
    )
    leaves = [*(v for v in values.values() if v is not None), *above.values()]
    second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves, create_graph=True)
    third = torch.autograd.grad(sum(g.square().sum() for g in second), [values["x"], values["weight_hh"]])
    return [*second, *third]


@pytest.mark.parametrize("wanted", [INPUTS, ("x",), ("weight_ih", "bias_hh"), ("bias_ih", "bias_hh", "h0")])
@pytest.mark.parametrize("names", [NAMES, ("y",), ("h", "c")])
def test_second_and_third_derivatives(names: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """Exact up to the rounding of sums of squares in float32."""
    given = arguments(2, 4, 3, 5)
    found, expected = (second_derivatives(given, names, wanted, dtype) for dtype in (torch.float32, torch.float64))
    assert_all_agree(found, expected, 1e-5, [*INPUTS, *names, "third by x", "third by weight_hh"])


@pytest.mark.parametrize(("bias", "state"), [(True, False), (False, True), (False, False)])
def test_second_derivatives_without_what_is_optional(bias: bool, state: bool) -> None:
    given = arguments(2, 4, 3, 5, bias=bias, state=state)
    found, expected = (second_derivatives(given, NAMES, INPUTS, dtype) for dtype in (torch.float32, torch.float64))
    assert_all_agree(found, expected, 1e-5, [str(i) for i in range(len(found))])


def test_second_derivatives_by_biases_are_tensors_of_their_own() -> None:
    values = {name: v.requires_grad_() for name, v in flat(arguments()).items()}
    (dx,) = torch.autograd.grad(outputs(values)[0].square().sum(), values["x"], create_graph=True)
    first, second = torch.autograd.grad(dx.square().sum(), [values["bias_ih"], values["bias_hh"]])
    assert_same(first, second)
    first.zero_()
    assert second.any()
