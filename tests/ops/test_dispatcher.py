"""The operators as citizens of PyTorch's dispatcher: opcheck, fake tensors, compile, export, autocast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ..compare import assert_agrees, assert_all_agree, assert_same
from .operators import (
    CAUSAL_DWCONV2D,
    HALF_TYPES,
    MASK_RESIDUAL,
    Operator,
    Recorder,
    Shape,
    Tensors,
    cotangent,
    gradients,
)


@pytest.fixture(autouse=True)
def forget_compiled() -> Iterator[None]:
    yield
    torch._dynamo.reset()


def opcheck_shapes(operator: Operator) -> list[Shape]:
    """The tiny shape, a second one whose dimensions all differ, and the operator's variants."""
    other = replace(operator.tiny, batch=1, frames=7, bins=5)
    variant = {"causal_dwconv2d": {"bias": False}, "mask_residual": {"is_complex": True}}.get(operator.name)
    return [operator.tiny, other] + ([replace(operator.tiny, **variant)] if variant else [])


def as_leaves(values: Any) -> Any:
    """The same arguments, in the same strides, as tensors that require gradients."""
    return tree_map(lambda v: v.detach().requires_grad_() if isinstance(v, Tensor) else v, values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck(operator: Operator, dtype: torch.dtype, device: torch.device) -> None:
    """Forward and backward operator, on the very arguments that a forward and a backward pass give them."""
    for shape in opcheck_shapes(operator) if dtype == torch.float32 else [operator.tiny]:
        with Recorder() as recorder:
            gradients(operator, operator.inputs(shape, dtype=dtype, device=device))
        for overload, arguments in recorder.calls:
            torch.library.opcheck(overload, as_leaves(arguments))


def test_forward_and_backward_are_one_operator_each(operator: Operator, device: torch.device) -> None:
    """Nothing runs twice: no forward is repeated, no operator is called for one gradient at a time."""
    with Recorder() as recorder:
        gradients(operator, operator.inputs(operator.tiny, device=device))
    called = [overload.name() for overload, _ in recorder.calls]
    assert called == [f"lite_rtse::{operator.name}", f"lite_rtse::{operator.name}_backward"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF_TYPES], ids=str)
def test_meta_tensors(operator: Operator, dtype: torch.dtype) -> None:
    """Shapes, dtypes and strides come out of meta tensors as they do of real ones, with no data behind them."""
    tensors = operator.inputs(operator.tiny, dtype=dtype)
    real = operator(tensors)
    meta = operator({name: tensor.to("meta") for name, tensor in tensors.items()})
    assert meta.device.type == "meta"
    assert (meta.shape, meta.dtype, meta.stride()) == (real.shape, real.dtype, real.stride())


class Wrapped(torch.nn.Module):
    """The operator between two pointwise operations, its weights as parameters: what export takes."""

    def __init__(self, operator: Operator, tensors: Tensors) -> None:
        super().__init__()
        self.operator = operator
        self.signals = [name for name in tensors if name in operator.signals]
        self.rest = [name for name in tensors if name not in operator.signals]
        self.weights = torch.nn.ParameterList([tensors[name] for name in self.rest])

    def forward(self, *signals: Tensor) -> Tensor:
        weights = dict(zip(self.rest, self.weights, strict=True))
        named = dict(zip(self.signals, [signal * 2 for signal in signals], strict=True))
        return self.operator(named | weights) + 1


def signal_values(operator: Operator, tensors: Tensors) -> list[Tensor]:
    return [tensors[name].detach().requires_grad_() for name in operator.signals]


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile(operator: Operator, backend: str, device: torch.device) -> None:
    """One graph without a break, and the values of eager mode, forward and backward."""
    tensors = operator.inputs(operator.usual, device=device)
    module = Wrapped(operator, tensors)
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    results = []
    for function in (module, compiled):
        signals = signal_values(operator, tensors)
        y = function(*signals)
        found = torch.autograd.grad(y, [*signals, *module.parameters()], cotangent(y))
        results.append([y, *found])
    names = ["result", *operator.signals, *module.rest]
    assert_all_agree(results[1], results[0], 1e-6, names)


def test_compile_complex(device: torch.device) -> None:
    operator = MASK_RESIDUAL
    tensors = operator.inputs(Shape(frames=9, bins=5, is_complex=True), device=device)
    compiled = torch.compile(operator.flat(tensors), fullgraph=True, backend="aot_eager")
    assert_same(compiled(*tensors.values()), operator(tensors))


def test_compile_dynamic_shapes(operator: Operator, device: torch.device) -> None:
    """One compiled graph serves any batch and any number of frames."""
    shapes = [replace(operator.usual, batch=b, frames=t) for b, t in ((5, 11), (4, 40), (9, 7))]
    inputs = [operator.inputs(shape, device=device) for shape in shapes]
    compiled = torch.compile(operator.flat(inputs[0]), fullgraph=True, dynamic=True, backend="aot_eager")
    compiled(*inputs[0].values())
    with torch._dynamo.config.patch(error_on_recompile=True):
        for tensors in inputs:
            assert_same(compiled(*tensors.values()), operator(tensors))


def test_export(operator: Operator, device: torch.device) -> None:
    """The exported program holds the operator, not what it is made of, and runs with another number of frames."""
    tensors = operator.inputs(operator.tiny, device=device)
    module = Wrapped(operator, tensors)
    signals = [tensors[name] for name in operator.signals]
    frames = torch.export.Dim("frames", min=2, max=64)
    dynamic = tuple({dim: frames} for dim in operator.signals.values())
    program = torch.export.export(module, tuple(signals), dynamic_shapes={"signals": dynamic})
    assert any(node.target is operator.overload for node in program.graph.nodes)
    assert_same(program.module()(*signals), module(*signals))
    longer = operator.inputs(replace(operator.tiny, frames=9), device=device)
    signals = [longer[name] for name in operator.signals]
    assert_same(program.module()(*signals), module(*signals))


@pytest.mark.parametrize("half", HALF_TYPES, ids=str)
def test_autocast_lowers_convolutions(convolution: Operator, half: torch.dtype, device: torch.device) -> None:
    """As ``conv2d``: the result is a half type, that of lowered inputs; gradients have the inputs' own type."""
    tensors = convolution.inputs(convolution.usual, device=device)
    lowered = {name: tensor.to(half) for name, tensor in tensors.items()}
    expected, expected_gradients = gradients(convolution, lowered)
    with torch.autocast(device.type, half):
        y, found = gradients(convolution, tensors)
        mixed = convolution({n: t if n in convolution.signals else lowered[n] for n, t in tensors.items()})
    assert y.dtype == half
    assert_same(y, expected)
    assert_same(mixed, expected, "half weights, float32 signal")
    for name, gradient in found.items():
        assert gradient.dtype == torch.float32
        assert_agrees(gradient, expected_gradients[name].float(), 1e-6, f"gradient of {name}")


def test_autocast_keeps_float64(operator: Operator, device: torch.device) -> None:
    tensors = operator.inputs(operator.tiny, dtype=torch.float64, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        y = operator(tensors)
    assert y.dtype == torch.float64
    assert_same(y, operator(tensors))


@pytest.mark.parametrize("is_complex", [False, True])
def test_autocast_keeps_the_reconstruction_in_float32(is_complex: bool, device: torch.device) -> None:
    """It is pointwise and its result is heard: half precision would save nothing. Heads in half types are raised."""
    operator = MASK_RESIDUAL
    tensors = operator.inputs(Shape(is_complex=is_complex), dtype=torch.float32, device=device)
    heads = {n: t if n == "spectrogram" else t.bfloat16() for n, t in tensors.items()}
    raised = {n: t if n == "spectrogram" else t.float() for n, t in heads.items()}
    expected, expected_gradients = gradients(operator, raised)
    full = operator(tensors)
    with torch.autocast(device.type, torch.bfloat16):
        assert_same(operator(tensors), full)
        y, found = gradients(operator, heads)
    assert y.dtype == tensors["spectrogram"].dtype
    assert_same(y, expected)
    for name, gradient in found.items():
        assert gradient.dtype == heads[name].dtype
        assert_same(gradient, expected_gradients[name].to(gradient.dtype), f"gradient of {name}")


def test_autocast_that_is_switched_off(device: torch.device) -> None:
    operator = CAUSAL_DWCONV2D
    tensors = operator.inputs(operator.tiny, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=False):
        assert operator(tensors).dtype == torch.float32
