"""The operators' arguments as lists of sizes and buffers, in the order in which capi.cpp reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..ops import operators
from ..ops.operator import Operator

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)  # in the order of DType
ABSENT, INPUT, OUTPUT = range(3)  # Kind in request.hpp


@dataclass
class Call:
    """The sizes and buffers of one call, in the order in which capi.cpp reads them."""

    backward: bool
    dtype: torch.dtype
    sizes: list[int]
    buffers: list[tuple[str, Tensor | None, int]] = field(default_factory=list)

    def inputs(self, **tensors: Tensor | Sequence[Tensor] | None) -> None:
        for name, value in tensors.items():
            for label, tensor in _labelled(name, value):
                dense = None if tensor is None else tensor.detach().contiguous()
                self.buffers.append((label, dense, ABSENT if tensor is None else INPUT))

    def outputs(self, **like: Tensor | Sequence[Tensor] | None) -> list[Tensor]:
        """Results of the same sizes as the given tensors."""
        made = []
        for name, value in like.items():
            for label, tensor in _labelled(name, value):
                result = None if tensor is None else torch.empty_like(tensor, memory_format=torch.contiguous_format)
                self.buffers.append((label, result, ABSENT if tensor is None else OUTPUT))
                made.append(result)
        return made

    def none(self, name: str) -> None:
        self.buffers.append((name, None, ABSENT))


def _labelled(name: str, value: Tensor | Sequence[Tensor] | None) -> list[tuple[str, Tensor | None]]:
    if value is None or isinstance(value, Tensor):
        return [(name, value)]
    return [(f"{name}[{i}]", tensor) for i, tensor in enumerate(value)]


def _usual(operator: Operator) -> Callable[..., Any]:
    """What makes the calls of an operator that has one result, and gradients of all its tensors."""

    def call(*given: Any, dy: Tensor | None = None) -> Any:
        schema = operator.overload._schema.arguments
        values = [*given, *(argument.default_value for argument in schema[len(given) :])]
        made = Call(dy is not None, given[0].dtype, operator.dimensions(*values))
        tensors = {a.name: v for a, v in zip(schema, values, strict=True) if v is None or not isinstance(v, int)}
        made.inputs(**tensors)
        if dy is None:
            result = operator.overload(*tree_map_only(Tensor, lambda tensor: tensor.to("meta"), values))
            return made, made.outputs(y=given[0].new_empty(result.shape))[0]
        made.none("y")
        made.inputs(dy=dy)
        return made, tuple(_gradient(made, name, value) for name, value in tensors.items())

    return call


def _gradient(made: Call, name: str, of: Tensor | Sequence[Tensor] | None) -> Any:
    """The gradient of a tensor, or those of a list of tensors."""
    found = made.outputs(**{f"d{name}": of})
    return found if isinstance(of, Sequence) else found[0]


def _mask_residual(
    spectrogram: Tensor,
    mask_logit: Tensor,
    res_mag: Tensor,
    res_real: Tensor,
    res_imag: Tensor,
    *,
    dy: Tensor | None = None,
) -> Any:
    x = _parts(spectrogram)
    batch, bins, frames, _ = x.shape
    tensors = {"mask_logit": mask_logit, "res_mag": res_mag, "res_real": res_real, "res_imag": res_imag}
    if dy is None:
        y = _parts(torch.empty_like(spectrogram))
        call = Call(False, x.dtype, [batch, frames, bins, *x.stride(), *y.stride()])
        call.buffers.append(("spectrogram", x, INPUT))
        call.inputs(**tensors)
        call.buffers.append(("y", y, OUTPUT))
        return call, _like(spectrogram, y)
    dy, dx = _parts(dy), _parts(torch.empty_like(spectrogram))
    call = Call(True, x.dtype, [batch, frames, bins, *x.stride(), 0, 0, 0, 0, *dy.stride(), *dx.stride()])
    call.buffers.append(("spectrogram", x, INPUT))
    call.inputs(**tensors)
    call.none("y")
    call.buffers += [("dy", dy, INPUT), ("dx", dx, OUTPUT)]
    gradients = call.outputs(**{f"d{name}": tensor for name, tensor in tensors.items()})
    return call, (_like(spectrogram, dx), *gradients)


def _lstm(values: Sequence[Tensor | None], reverse: bool = False, keep: bool = True, *, dy: Any = None) -> Any:
    """``values``: input, weight_hh, both biases, h0, c0. ``dy``: dy, dh, dc, y, gates, cells, if dh0 is wanted."""
    names = ("input", "weight_hh", "bias_ih", "bias_hh", "h0", "c0")
    (batch, frames, _), units = values[0].shape, values[1].shape[1]
    call = Call(dy is not None, values[0].dtype, [batch, frames, units, int(reverse)])
    call.inputs(**dict(zip(names, values, strict=True)))
    new = values[0].new_empty
    y, state = new(batch, frames, units), new(batch, units)
    gates, cells = (new(batch, frames, 4 * units), y) if keep else (None, None)
    if dy is None:
        return call, tuple(call.outputs(y=y, h=state, c=state, gates=gates, cells=cells))
    *by, made_y, made_gates, made_cells, state_wanted = dy
    call.inputs(y=made_y)
    call.none("h"), call.none("c")
    call.inputs(gates=made_gates, cells=made_cells, **dict(zip(("dy", "dh", "dc"), by, strict=True)))
    state = state if state_wanted else None
    return call, tuple(call.outputs(dz=new(batch, frames, 4 * units), before=y, dh0=state, dc0=state))


def _gru(values: Mapping[str, Any], keep: bool = True, *, dy: Any = None) -> Any:
    """``values``: lists input, weight_hh, bias_ih, bias_hh for each direction, and h0. ``dy``: dy, y, kept, dh0 wanted.

    In the backward pass the buffers stand in the same order, y and kept behind h0.
    """
    inputs, weights, h0 = values["input"], values["weight_hh"], values["h0"]
    (batch, frames, _), units, directions = inputs[0].shape, weights[0].shape[1], len(weights)
    call = Call(dy is not None, weights[0].dtype, [batch, frames, units, directions])
    absent = [None] * directions
    call.inputs(input=inputs, weight_hh=weights)
    call.inputs(bias_ih=values["bias_ih"] or absent, bias_hh=values["bias_hh"] or absent, h0=h0)
    wide, narrow = inputs[0].new_empty, weights[0].new_empty
    if dy is None:
        kept = wide(directions * (4 * units * frames * batch + 16)) if keep else None
        return call, tuple(call.outputs(y=narrow(batch, frames, directions * units), kept=kept))
    by, y, kept, state_wanted = dy
    call.inputs(y=y, kept=kept, dy=by)
    rows, state = wide(batch, frames, 3 * units), narrow(directions, batch, units) if state_wanted else None
    made = call.outputs(dinput=[rows] * directions, dstate=[rows] * directions)
    made += call.outputs(before=[wide(batch, frames, units)] * directions, dh0=state)
    each = [made[i * directions : (i + 1) * directions] for i in range(3)]
    return call, (*each, made[-1])


def _norm_prelu(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    slope: Tensor | None = None,
    mean: Tensor | None = None,
    var: Tensor | None = None,
    *,
    dy: Any = None,
) -> Any:
    """The eps is 1e-5. ``dy``: dy, and the statistics that the forward pass returned."""
    batch, channels, *points = x.shape
    slopes = 1 if slope is None else slope.numel()
    call = Call(dy is not None, x.dtype, [batch, channels, math.prod(points), slopes])
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    parameters = {"weight": weight, "bias": bias, "slope": slope}
    if dy is None:
        call.inputs(x=x, **parameters, mean=mean, var=var)
        return call, tuple(call.outputs(y=x, statistics=x.new_empty((2, channels), dtype=wide)))
    by, statistics = dy
    call.sizes.append(int(mean is None))
    call.inputs(x=x, **parameters, mean=None, var=None, y=None, statistics=statistics, dy=by)
    return call, tuple(call.outputs(dx=x, **{f"d{name}": t for name, t in parameters.items()}))


def _parts(spectrogram: Tensor) -> Tensor:
    return torch.view_as_real(spectrogram) if spectrogram.is_complex() else spectrogram


def _like(spectrogram: Tensor, parts: Tensor) -> Tensor:
    return torch.view_as_complex(parts) if spectrogram.is_complex() else parts


OPERATORS: dict[str, Callable[..., Any]] = {
    **{operator.name: _usual(operator) for operator in operators.OPERATORS},
    "mask_residual": _mask_residual,
    "lstm": _lstm,
    "gru": _gru,
    "norm_prelu": _norm_prelu,
}


def prepare(name: str, arguments: Sequence[Any]) -> tuple[str, Call, Any]:
    """The operator's name, and the call of it or of its backward with what it will fill."""
    operator = name.removesuffix("_backward")
    if operator == name:
        return operator, *OPERATORS[operator](*arguments)
    dy, *rest = arguments
    return operator, *OPERATORS[operator](*rest, dy=dy)


def storage_bytes(tensor: Tensor) -> int:
    """Bytes from the first to behind the last element in memory, whatever the strides."""
    if tensor.numel() == 0:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()
