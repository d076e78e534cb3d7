"""The recurrent operators as the tests see them."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lite_rtse_ext import ops

from .operator import Operator, Shape, Tensors, named


class Lstm(Operator):
    """y, and as two more frames the last h and c."""

    name = "lstm"
    signals: ClassVar = {"x": 1, "h0": 1, "c0": 1}
    time_dim = 1
    usual = Shape(batch=3, frames=33, bins=37, channels=20)
    tiny = Shape(batch=2, frames=3, bins=4, channels=3)
    uneven = Shape(batch=2, frames=5, bins=6, channels=4)
    exact = torch.float32

    def sizes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        batch, units = shape.batch, shape.channels
        weights = {"weight_ih": (4 * units, shape.bins), "weight_hh": (4 * units, units)}
        rest = {"bias_ih": (4 * units,), "bias_hh": (4 * units,), "h0": (batch, units), "c0": (batch, units)}
        return {"x": (batch, shape.frames, shape.bins)} | weights | rest

    def result_size(self, shape: Shape) -> tuple[int, ...]:
        return (shape.batch, shape.frames + 2, shape.channels)

    def __call__(self, tensors: Tensors) -> Tensor:
        *arguments, h, c = tensors.values()
        y, (h, c) = ops.lstm(*arguments, state=(h, c))
        return torch.cat([y, h[:, None], c[:, None]], 1)

    def reference(self, tensors: Tensors) -> Tensor:
        x, weight_ih, weight_hh, bias_ih, bias_hh, h, c = tensors.values()
        linear, outputs = torch.nn.functional.linear, []
        for frame in x.unbind(1):
            i, f, g, o = (linear(frame, weight_ih, bias_ih) + linear(h, weight_hh, bias_hh)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack([*outputs, h, c], 1)


class Gru(Operator):
    """y without a state. What the state does stands in test_gru.py."""

    name = "gru"
    signals: ClassVar = {"x": 1}
    time_dim = 1
    usual = Shape(batch=19, frames=33, bins=9, channels=10)
    tiny = Shape(batch=2, frames=3, bins=4, channels=3)
    uneven = Shape(batch=2, frames=5, bins=6, channels=4)
    shapes = (
        Shape(batch=66, frames=125, bins=8, channels=8),
        Shape(batch=40, frames=33, bins=8, channels=4, directions=2),
        Shape(batch=1, frames=1, bins=1, channels=1),
        Shape(batch=2, frames=2, bins=3, channels=2, directions=2),
        Shape(batch=17, frames=2, bins=5, channels=17),
        Shape(batch=15, frames=70, bins=3, channels=6, directions=2),
        Shape(batch=33, frames=31, bins=16, channels=12, bias=False),
        Shape(batch=16, frames=65, bins=4, channels=9, bias=False, directions=2),
        Shape(batch=3, frames=18, bins=48, channels=64),
        Shape(batch=2, frames=270, bins=5, channels=16, directions=2),
        Shape(batch=5, frames=7, bins=257, channels=33, directions=2),
        Shape(batch=2, frames=5, bins=30, channels=129),
    )
    empty = (Shape(batch=0), Shape(batch=0, directions=2), Shape(batch=0, bias=False))

    def sizes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        units = shape.channels
        weights = [(3 * units, shape.bins), (3 * units, units)] * shape.directions
        biases = [(3 * units,)] * (len(weights) if shape.bias else 0)
        return {"x": (shape.batch, shape.frames, shape.bins)} | named(weights, biases)

    def result_size(self, shape: Shape) -> tuple[int, ...]:
        return (shape.batch, shape.frames, shape.directions * shape.channels)

    def __call__(self, tensors: Tensors) -> Tensor:
        y: Tensor = ops.gru(*self.arguments(tensors))[0]
        return y

    def arguments(self, tensors: Tensors) -> list[Any]:
        x, weights, *biases = super().arguments(tensors)
        return [x, weights, biases[0] if biases else []]
