"""``torch.onnx.export`` and ``torch.jit.trace`` of the operators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lite_rtse_ext.nn import GRU, LSTM

from ..compare import assert_agrees, assert_all_agree
from .operators import OPERATORS, Operator

FRAMES = torch.export.Dim("frames", min=2, max=64)


class Called(nn.Module):
    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, *values: Tensor) -> Tensor:
        return self.operator(dict(zip(self.operator.sizes(self.operator.tiny), values, strict=True)))


def exported(module: nn.Module, values: tuple[Tensor, ...], path: Path, **options: object) -> object:
    """The graph, as ONNX Runtime runs it."""
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    runtime = pytest.importorskip("onnxruntime")
    torch.onnx.export(module, values, path, dynamo=True, verbose=False, **options)
    return runtime.InferenceSession(path)


def run(session: object, *values: Tensor) -> Tensor:
    given = {argument.name: v.numpy() for argument, v in zip(session.get_inputs(), values, strict=True)}
    return torch.from_numpy(session.run(None, given)[0])


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_onnx_holds_the_formula_for_any_number_of_frames(operator: Operator, tmp_path: Path) -> None:
    tensors = operator.inputs(operator.tiny)
    dims = tuple({operator.signals[name]: FRAMES} if name in operator.signals else None for name in tensors)
    session = exported(Called(operator), tuple(tensors.values()), tmp_path / "x.onnx", dynamic_shapes={"values": dims})
    longer = operator.inputs(replace(operator.tiny, frames=9))
    assert_agrees(run(session, *longer.values()), operator(longer), 1e-6)


@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_onnx_holds_a_recurrent_layer(kind: type[GRU | LSTM], tmp_path: Path) -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = kind(4, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)[0]

    module, x = First().eval(), torch.randn(2, 5, 4)
    session = exported(module, (x,), tmp_path / "x.onnx")
    assert_agrees(run(session, x), module(x), 1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_exporter_from_a_trace_is_refused_in_words(any_operator: Operator, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    values = tuple(any_operator.inputs(any_operator.tiny).values())
    with pytest.raises(RuntimeError, match=r"dynamo=False.*`lite-rtse export`.*unfuse"):
        torch.onnx.export(Called(any_operator), values, tmp_path / "x.onnx", dynamo=False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_trace_is_for_training_and_inference(any_operator: Operator) -> None:
    """Made outside `no_grad`, it passes PyTorch's own check, and has the operator's results and gradients."""
    tensors = any_operator.inputs(any_operator.tiny)
    leaves = [tensor.requires_grad_() for tensor in tensors.values()]
    traced = torch.jit.trace(Called(any_operator), tuple(leaves))
    found, expected = traced(*leaves), any_operator(tensors)
    assert_agrees(found, expected, 1e-6)
    pairs = [torch.autograd.grad(y.square().sum(), leaves) for y in (found, expected)]
    assert_all_agree(*pairs, 1e-5, list(tensors))
    with torch.no_grad():
        assert_agrees(traced(*leaves), expected, 1e-6)
