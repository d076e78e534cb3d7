"""Constants as tensors: made once, of the right type, and never a tracer's."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lite_rtse_ext.utils.constant import constant

VALUES = (0.25, 1.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_type_and_memory(dtype: torch.dtype) -> None:
    like = torch.zeros(3, dtype=dtype)
    found = constant(VALUES, like)
    assert torch.equal(found, torch.tensor(VALUES, dtype=dtype))
    assert constant(VALUES, torch.ones(1, dtype=dtype)) is found


def test_a_constant_first_made_in_inference_serves_training() -> None:
    with torch.inference_mode():
        constant((3.0, 4.0), torch.zeros(1))
    leaf = torch.ones(2, requires_grad=True)
    (leaf * constant((3.0, 4.0), leaf)).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [3.0, 4.0]


def test_a_tracers_tensors_are_not_kept() -> None:
    with FakeTensorMode():
        constant((5.0, 6.0), torch.zeros(1))
    assert type(constant((5.0, 6.0), torch.zeros(1))) is torch.Tensor


def test_a_compiled_function_holds_its_values() -> None:
    function = torch.compile(lambda x: x * constant((7.0, 8.0), x), fullgraph=True, backend="aot_eager")
    assert function(torch.ones(2)).tolist() == [7.0, 8.0]
