"""The operators as the tests see them: one description each, so that a clause of the contract is one test for all.

``OPERATORS`` are the four with one result. ``OF_EVERY_TYPE`` has ``gru`` and ``norm_prelu`` besides, of every type.
``WITH_LSTM`` has ``lstm`` and ``pointwise_conv`` too, of float32. What these four have of their own is in test_gru.py,
test_norm_prelu.py, test_lstm.py and test_pointwise_conv.py.

A test gets an operator and a shape, makes named inputs, and calls the operator or its reference on them::

    tensors = operator.inputs(shape, dtype=torch.float32, device=device)   # {"x": …, "weights[0]": …, "biases[0]": …}
    y = operator(tensors)
    exact = operator.reference(double(tensors))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lite_rtse_ext import ops, reference

from ..compare import assert_agrees, assert_no_worse
from .operator import Operator, Shape, Tensors, named
from .recurrent import Gru, Lstm


class CausalDwconv2d(Operator):
    name = "causal_dwconv2d"
    signals: ClassVar = {"x": 2}
    usual = Shape(batch=3, frames=33, bins=37, channels=20, kernel=(7, 7))
    tiny = Shape(batch=2, frames=3, bins=4, channels=2)
    uneven = Shape(batch=2, frames=5, bins=6, channels=4, kernel=(3, 3))
    shapes = (
        Shape(batch=1, frames=65, bins=257, channels=16, kernel=(7, 7)),
        Shape(frames=33, bins=258, channels=9, kernel=(3, 3)),
        Shape(batch=1, frames=1, bins=1, channels=1, kernel=(3, 3)),
        Shape(frames=1, bins=257, channels=5, kernel=(7, 7)),
        Shape(frames=2, bins=5, channels=17, kernel=(7, 7)),
        Shape(batch=3, frames=6, bins=16, channels=8, kernel=(7, 7)),
        Shape(frames=7, bins=5, channels=12, kernel=(5, 5)),
        Shape(frames=8, bins=1, channels=128, kernel=(7, 7), bias=False),
        Shape(frames=33, bins=16, channels=3, kernel=(3, 5)),
        Shape(frames=6, bins=33, channels=4, kernel=(5, 1), bias=False),
        Shape(frames=65, bins=16, channels=2, kernel=(9, 9)),
        Shape(frames=7, bins=31, channels=7, kernel=(1, 1)),
        Shape(frames=2, bins=2, channels=3, kernel=(15, 15)),
        Shape(batch=1, frames=130, bins=64, channels=3, kernel=(3, 3), bias=False),
        Shape(batch=1, frames=530, bins=6, channels=3, kernel=(7, 7)),
    )
    empty = tuple(Shape(kernel=(7, 7), **{zero: 0}) for zero in ("batch", "frames", "bins", "channels"))
    network: ClassVar = {"": Shape(channels=64, kernel=(7, 7))}

    def sizes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        sizes: dict[str, tuple[int, ...]] = {
            "x": (shape.batch, shape.channels, shape.frames, shape.bins),
            "weight": (shape.channels, 1, *shape.kernel),
        }
        return sizes | ({"bias": (shape.channels,)} if shape.bias else {})

    def result_size(self, shape: Shape) -> tuple[int, ...]:
        return (shape.batch, shape.channels, shape.frames, shape.bins)

    def dimensions(self, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> list[int]:
        return [*x.shape, *weight.shape[2:], dilation]


class DilatedDwconv2d(CausalDwconv2d):
    """The same with a dilation, which is no tensor."""

    shapes = (
        Shape(frames=33, bins=33, channels=17),
        Shape(batch=1, frames=530, bins=7, channels=3, kernel=(3, 5), bias=False),
        Shape(frames=6, bins=5, channels=4, kernel=(7, 7)),
        Shape(frames=9, bins=5, channels=2, kernel=(1, 3)),
        Shape(batch=1, frames=1, bins=1, channels=1),
    )
    empty = ()

    def __init__(self, dilation: int) -> None:
        self.dilation = dilation

    def __str__(self) -> str:
        return f"{self.name} dilated by {self.dilation}"

    def __call__(self, tensors: Tensors) -> Tensor:
        return ops.causal_dwconv2d(**tensors, dilation=self.dilation)

    def reference(self, tensors: Tensors) -> Tensor:
        return reference.causal_dwconv2d(**tensors, dilation=self.dilation)


class NormPrelu(Operator):
    """y with the statistics of the batch. Given statistics stand in test_norm_prelu.py."""

    name = "norm_prelu"
    alone = False
    pointwise = True
    signals: ClassVar = {"x": 2}
    usual = Shape(batch=3, frames=33, channels=20)
    tiny = Shape(batch=2, frames=3, channels=2)
    uneven = Shape(batch=2, frames=30, channels=4)
    shapes = (
        Shape(batch=2, frames=4125, channels=16),
        Shape(batch=1, frames=5, channels=1),
        Shape(batch=5, frames=1, channels=17),
        Shape(batch=3, frames=1023, channels=3, bias=False),
        Shape(batch=1, frames=1024, channels=5),
        Shape(batch=2, frames=1025, channels=2),
        Shape(batch=1, frames=63, channels=33, bias=False),
    )
    empty = tuple(Shape(**{zero: 0}) for zero in ("frames", "channels"))

    def sizes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        channels = (shape.channels,)
        slope = channels if shape.bias else (1,)
        return {"x": (shape.batch, shape.channels, shape.frames), "weight": channels, "bias": channels, "slope": slope}

    def result_size(self, shape: Shape) -> tuple[int, ...]:
        return (shape.batch, shape.channels, shape.frames)

    def __call__(self, tensors: Tensors) -> Tensor:
        return ops.norm_prelu(**tensors)[0]


class PointwiseConv(Operator):
    name = "pointwise_conv"
    signals: ClassVar = {"x": 2}
    usual = Shape(batch=3, frames=33, channels=20, in_channels=12)
    tiny = Shape(batch=2, frames=3, channels=3, in_channels=2)
    uneven = Shape(batch=2, frames=5, channels=4, in_channels=3)
    exact = torch.float32
    shapes = (
        Shape(batch=2, frames=200, channels=256, in_channels=64),
        Shape(batch=2, frames=200, channels=64, in_channels=256),
        Shape(batch=1, frames=257, channels=257, in_channels=578, bias=False),
        Shape(batch=1, frames=1, channels=1, in_channels=1),
        Shape(batch=5, frames=1, channels=17, in_channels=300),
        Shape(batch=3, frames=131, channels=33, in_channels=15, bias=False),
        Shape(batch=1, frames=1030, channels=3, in_channels=5),
        Shape(batch=40, frames=15, channels=6, in_channels=16),
    )
    empty = tuple(Shape(**{zero: 0}) for zero in ("batch", "frames", "channels", "in_channels"))

    def sizes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        sizes: dict[str, tuple[int, ...]] = {
            "x": (shape.batch, shape.in_channels, shape.frames),
            "weight": (shape.channels, shape.in_channels),
        }
        return sizes | ({"bias": (shape.channels,)} if shape.bias else {})

    def result_size(self, shape: Shape) -> tuple[int, ...]:
        return (shape.batch, shape.channels, shape.frames)


class ConvBlock(Operator):
    name = "conv_block"
    signals: ClassVar = {"x": 2}
    usual = Shape(batch=3, frames=33, bins=37, channels=20, in_channels=12)
    tiny = Shape(batch=2, frames=3, bins=4, channels=3, in_channels=2)
    uneven = Shape(batch=2, frames=5, bins=6, channels=4, in_channels=3)
    shapes = (
        Shape(batch=1, frames=65, bins=257, channels=32, in_channels=1),
        Shape(batch=1, frames=33, bins=257, channels=32, in_channels=32),
        Shape(batch=1, frames=1, bins=1, channels=1, in_channels=1),
        Shape(frames=1, bins=258, channels=12, in_channels=7),
        Shape(batch=3, frames=2, bins=5, channels=17, in_channels=3),
        Shape(frames=6, bins=16, channels=8, in_channels=64),
        Shape(frames=7, bins=1, channels=128, in_channels=5),
        Shape(frames=8, bins=5, channels=2, in_channels=9),
        Shape(batch=1, frames=130, bins=33, channels=5, in_channels=2),
        Shape(batch=1, frames=530, bins=6, channels=5, in_channels=3),
    )
    empty = tuple(Shape(**{zero: 0}) for zero in ("batch", "frames", "bins", "channels", "in_channels"))
    network: ClassVar = {
        "1 to 32": Shape(in_channels=1, channels=32),
        "32 to 32": Shape(in_channels=32, channels=32),
    }

    def sizes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        c, c_in = shape.channels, shape.in_channels
        weights = [(c, c_in, 1, 1), (c, 1, 3, 3), (c, c, 1, 1), (c, c_in, 1, 1)]
        return {"x": (shape.batch, c_in, shape.frames, shape.bins)} | named(weights, [(c,)] * 4)

    def result_size(self, shape: Shape) -> tuple[int, ...]:
        return (shape.batch, shape.channels, shape.frames, shape.bins)

    def dimensions(self, x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[int]:
        batch, in_channels, frames, bins = x.shape
        return [batch, in_channels, weights[0].shape[0], frames, bins]


class MultiOrderConv(Operator):
    name = "multi_order_conv"
    signals: ClassVar = {"x": 2}
    usual = Shape(batch=3, frames=33, bins=37, channels=16, in_channels=8, out_channels=1, order=3, kernel=(7, 7))
    tiny = Shape(batch=2, frames=3, bins=4, channels=4, in_channels=2, out_channels=4, order=3)
    uneven = Shape(batch=2, frames=5, bins=6, channels=8, in_channels=3, order=3, kernel=(3, 3))
    shapes = (
        Shape(batch=1, frames=33, bins=257, channels=64, in_channels=32, order=5, kernel=(7, 7)),
        Shape(frames=7, bins=16, channels=64, in_channels=32, out_channels=64, order=5, kernel=(7, 7)),
        Shape(batch=1, frames=1, bins=1, channels=8, in_channels=3, order=2, kernel=(3, 3)),
        Shape(frames=8, bins=258, channels=8, in_channels=5, out_channels=8, order=2, kernel=(5, 5)),
        Shape(batch=3, frames=65, bins=5, channels=16, in_channels=8, order=3, kernel=(7, 7)),
        Shape(frames=6, bins=16, channels=32, in_channels=16, order=5, kernel=(7, 7)),
        Shape(batch=1, frames=7, bins=33, channels=128, in_channels=64, order=5, kernel=(7, 7)),
        Shape(frames=2, bins=257, channels=12, in_channels=7, out_channels=12, order=3, kernel=(5, 5)),
        Shape(frames=33, bins=16, channels=2, in_channels=1, out_channels=2, order=2, kernel=(9, 9)),
        Shape(frames=8, bins=17, channels=8, in_channels=4, order=4, kernel=(3, 3)),
        Shape(batch=1, frames=130, bins=20, channels=16, in_channels=2, order=5, kernel=(7, 7)),
        Shape(batch=1, frames=530, bins=6, channels=16, in_channels=4, order=5, kernel=(7, 7)),
        Shape(frames=9, bins=19, channels=8, in_channels=6, out_channels=8, order=3, kernel=(1, 1)),
        Shape(batch=1, frames=33, bins=9, channels=64, in_channels=32, out_channels=64, order=7, kernel=(7, 7)),
    )
    empty = tuple(Shape(kernel=(7, 7), **{zero: 0}) for zero in ("batch", "frames", "bins", "in_channels"))
    network: ClassVar = {"": Shape(in_channels=32, channels=64, order=5, kernel=(7, 7))}

    def sizes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        c, n, c_out = shape.channels, shape.order, shape.out_channels
        gates = [c // 2 ** (n - 1 - k) for k in range(n - 1)]
        deep = [2 * c - gates[0] - sum(gates[:k]) for k in range(n - 1)]  # channels of each depthwise stage
        weights = [(2 * c, shape.in_channels, 1, 1)]
        weights += [(d, 1, *shape.kernel) for d in deep]
        weights += [(2 * g, g, 1, 1) for g in gates]
        weights += [(c_out, c, 1, 1)]
        x = (shape.batch, shape.in_channels, shape.frames, shape.bins)
        return {"x": x} | named(weights, [size[:1] for size in weights])

    def result_size(self, shape: Shape) -> tuple[int, ...]:
        return (shape.batch, shape.out_channels, shape.frames, shape.bins)

    def dimensions(self, x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[int]:
        batch, in_channels, frames, bins = x.shape
        channels, out_channels = weights[0].shape[0] // 2, weights[-1].shape[0]
        return [batch, in_channels, channels, out_channels, len(weights) // 2, frames, bins, weights[1].shape[2]]


class MaskResidual(Operator):
    name = "mask_residual"
    pointwise = True
    signals: ClassVar = {"spectrogram": 2, "mask_logit": 1, "res_mag": 1, "res_real": 1, "res_imag": 1}
    usual = Shape(batch=3, frames=33, bins=37)
    tiny = Shape(batch=2, frames=3, bins=2)
    uneven = Shape(batch=2, frames=5, bins=6)
    shapes = (
        Shape(batch=1, frames=65, bins=257),
        Shape(frames=33, bins=258, is_complex=True),
        Shape(batch=1, frames=1, bins=1),
        Shape(batch=1, frames=1, bins=1, is_complex=True),
        Shape(frames=1, bins=257),
        Shape(batch=3, frames=7, bins=5, is_complex=True),
        Shape(frames=65, bins=1),
        Shape(batch=1, frames=130, bins=7),
        Shape(frames=2, bins=16),
    )
    empty = tuple(
        Shape(is_complex=is_complex, **{zero: 0})
        for zero in ("batch", "frames", "bins")
        for is_complex in (False, True)
    )
    network: ClassVar = {"": Shape()}

    def sizes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        b, t, f = shape.batch, shape.frames, shape.bins
        spectrogram = (b, f, t) if shape.is_complex else (b, f, t, 2)
        return {"spectrogram": spectrogram} | dict.fromkeys(
            ("mask_logit", "res_mag", "res_real", "res_imag"), (b, t, f)
        )

    def result_size(self, shape: Shape) -> tuple[int, ...]:
        return self.sizes(shape)["spectrogram"]


CAUSAL_DWCONV2D, CONV_BLOCK, MULTI_ORDER_CONV, MASK_RESIDUAL = (
    CausalDwconv2d(),
    ConvBlock(),
    MultiOrderConv(),
    MaskResidual(),
)
OPERATORS: tuple[Operator, ...] = (CAUSAL_DWCONV2D, CONV_BLOCK, MULTI_ORDER_CONV, MASK_RESIDUAL)
CONVOLUTIONS = (CAUSAL_DWCONV2D, CONV_BLOCK, MULTI_ORDER_CONV)
GRU, LSTM, NORM_PRELU, POINTWISE = Gru(), Lstm(), NormPrelu(), PointwiseConv()
DILATED = tuple(DilatedDwconv2d(dilation) for dilation in (2, 5, 1000))
OF_EVERY_TYPE: tuple[Operator, ...] = (*OPERATORS, GRU, NORM_PRELU)
WITH_LSTM: tuple[Operator, ...] = (*OF_EVERY_TYPE, LSTM, POINTWISE)
HALF_TYPES = (torch.float16, torch.bfloat16)


def cases(operators: Iterable[Operator] = (*OF_EVERY_TYPE, *DILATED), kind: str = "shapes") -> list[Any]:
    """(operator, shape) pairs for ``pytest.mark.parametrize``; ``kind`` is "shapes" or "empty"."""
    return [pytest.param(op, shape, id=f"{op}-{shape}") for op in operators for shape in getattr(op, kind)]


def double(tensors: Tensors) -> dict[str, Tensor]:
    """The same values in double precision: what the reference is given."""
    return {n: t.detach().to(torch.complex128 if t.is_complex() else torch.float64) for n, t in tensors.items()}


def cotangent(y: Tensor, seed: int = 1) -> Tensor:
    """A random gradient for the result ``y``, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.complex128 if y.is_complex() else torch.float64
    return torch.randn(y.shape, generator=generator, dtype=kind).to(y.dtype).to(y.device)


def gradients(
    function: Callable[[Tensors], Tensor], tensors: Tensors, dy: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The result of ``function`` and the gradient with respect to each input, which keeps the strides it has.

    ``dy`` is the gradient of the result, converted to its type; by default :func:`cotangent`.
    """
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
    y = function(leaves)
    dy = cotangent(y) if dy is None else dy.to(y.dtype)
    found = torch.autograd.grad(y, list(leaves.values()), dy)
    return y.detach(), dict(zip(leaves, found, strict=True))


class Recorder(TorchDispatchMode):
    """Notes each call of one of our operators, forward and backward, as the dispatcher gets it below autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "lite_rtse":
            self.calls.append((func, args))
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> Recorder:
        super().__enter__()
        return self


FORWARD_TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-12}
BACKWARD_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def check_against_reference(
    operator: Operator, shape: Shape, dtype: torch.dtype, device: torch.device | str, seed: int = 0, loosen: float = 1
) -> None:
    """The result and every gradient agree with the float64 reference, in value and in type.

    The tolerances are :data:`FORWARD_TOLERANCE` and :data:`BACKWARD_TOLERANCE`, times ``loosen``.
    """
    tensors = operator.inputs(shape, dtype=dtype, device=device, seed=seed)
    y, found = gradients(operator, tensors)
    exact, expected = gradients(operator.reference, double(tensors), cotangent(y))
    assert y.dtype == next(iter(tensors.values())).dtype
    assert y.shape == operator.result_size(shape)
    assert_agrees(y, exact, loosen * FORWARD_TOLERANCE[dtype], "result")
    for name, gradient in found.items():
        assert gradient.dtype == tensors[name].dtype
        assert_agrees(gradient, expected[name], loosen * BACKWARD_TOLERANCE[dtype], f"gradient of {name}")


# Half types may err this much more than eager. Where both round once (a single convolution) their errors are equal but
# for chance, which is a few per cent in the smaller tensors.
HALF_SLACK = 1.1


def check_no_worse_than_eager(operator: Operator, shape: Shape, dtype: torch.dtype, device: torch.device | str) -> None:
    """Result and gradients in a half type are as close to the float64 reference as plain PyTorch in that type is."""
    tensors = operator.inputs(shape, dtype=dtype, device=device)
    y, found = gradients(operator, tensors)
    eager, eager_found = gradients(operator.reference, tensors)
    exact, expected = gradients(operator.reference, double(tensors), cotangent(y))
    assert_no_worse(y, eager, exact, HALF_SLACK, "result")
    for name, gradient in found.items():
        assert_no_worse(gradient, eager_found[name], expected[name], HALF_SLACK, f"gradient of {name}")
