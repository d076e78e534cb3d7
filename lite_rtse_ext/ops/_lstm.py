"""One layer of an LSTM in one direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.ops import _check, _native, _register
from lite_rtse_ext.utils.tracing import is_traced


def lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    state: tuple[Tensor, Tensor] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """An LSTM over whole sequences. It computes the same as a one-layer ``torch.nn.LSTM(batch_first=True)``.

        i, f, g, o = W_ih x + b_ih + W_hh h + b_hh
        c = σ(f) c + σ(i) tanh(g),   h = σ(o) tanh(c)

    Args:
        x: (batch, frames, inputs), with at least one frame, in float32 or on CUDA also in float16 or bfloat16. If its
            frames come first in memory on the CPU, as in a transposed view, those of the result do, too, and nothing is
            copied.
        weight_ih: (4 units, inputs), with the gates in the order i, f, g, o.
        weight_hh: (4 units, units), with the gates in the same order.
        bias_ih, bias_hh: (4 units,), or None.
        state: h and c before the first frame, (batch, units) each. None stands for zeros.
        reverse: whether the LSTM begins at the last frame, as the second direction of a bidirectional LSTM does. The
            first frame is then the last in its order.

    On CUDA the frames are computed by one kernel, whose blocks must all be on the GPU at the same time. Very many units
    do not fit, on small GPUs more than about 250. In the half types everything in memory is of that type, and sums and
    c within the kernel are in float32. Autocast computes in its type on CUDA, and in float32 on the CPU.

    Returns:
        h at every frame, (batch, frames, units), and the state (h, c) after the last frame, (batch, units) each.

    Raises:
        TypeError: a tensor or the pair ``state`` is something else, or ``reverse`` is neither True nor False.
        RuntimeError: an argument has a wrong shape, dtype or device (the message names the argument), or the compiled
            operators are missing.
    """
    _native.require()
    _check.tensor("x", x)
    _check_device(x)
    h0, c0 = _pair(state)
    _check.optional({"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh})
    _check.flag("reverse", reverse)
    values = (x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0)
    differentiable = torch.is_grad_enabled() and any(v is not None and v.requires_grad for v in values)
    keep = differentiable and not is_traced()  # a trace must serve both modes
    y, h, c, _, _ = _register.run(torch.ops.lite_rtse.lstm, *values, reverse, keep)
    return y, (h, c)


def _pair(state: tuple[Tensor, Tensor] | None) -> tuple[Tensor | None, Tensor | None]:
    if state is None:
        return None, None
    if not isinstance(state, tuple | list) or len(state) != 2:
        what = f"a sequence of {len(state)}" if isinstance(state, tuple | list) else type(state).__name__
        raise TypeError(f"state is {what}, must be a pair (h, c) of tensors")
    h0, c0 = state
    _check.optional({"h0": h0, "c0": c0})
    return h0, c0


def lstm_fits(dtype: torch.dtype, units: int, device: int) -> bool:
    """Whether the CUDA kernels of this build can run so many units on a device, given by its index."""
    return _native.has_cuda() and _native.lstm_fits(_check.DTYPES.index(dtype), units, device)


def lstm_types(device: str) -> tuple[torch.dtype, ...]:
    """The dtypes of the kernels for this type of device."""
    return (torch.float32, torch.float16, torch.bfloat16) if device == "cuda" else (torch.float32,)


def lstm_type_names(device: str) -> str:
    """The same in words."""
    *others, last = (str(dtype).removeprefix("torch.") for dtype in lstm_types(device))
    return f"{', '.join(others)} or {last}" if others else last


def autocast_type(device: str) -> torch.dtype:
    """The dtype that autocast computes in: its own if the kernels have it, as in PyTorch's LSTM."""
    lower = _register.lower_precision(device)
    return lower if lower in lstm_types(device) else torch.float32


def _check_device(x: Tensor) -> None:
    if x.is_cuda and not _native.has_cuda():
        raise RuntimeError(f"x is on {x.device}, but this build runs lstm on the CPU only: use torch.nn.LSTM there")


def _check_arguments(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
) -> tuple[int, int, int, int]:
    """Check the arguments that forward and backward share. Returns batch, frames, inputs and units."""
    if x.dtype not in lstm_types(x.device.type):
        raise RuntimeError(f"x has dtype {x.dtype}, must be {lstm_type_names(x.device.type)}")
    _check.shape("x", x, (None, None, None), "(batch, frames, inputs)")
    if x.shape[1] == 0:
        raise RuntimeError(f"x has shape {tuple(x.shape)}, must have at least one frame")
    _check.shape("weight_hh", weight_hh, (None, None), "(4 units, units)")
    if weight_hh.shape[1] == 0:
        raise RuntimeError(f"weight_hh has shape {tuple(weight_hh.shape)}, must have at least one unit")
    (batch, frames, inputs), units = x.shape, weight_hh.shape[1]
    _check_tensors(
        x,
        ("weight_hh", weight_hh, (4 * units, units), "(4 units, units)"),
        ("weight_ih", weight_ih, (4 * units, inputs), "(4 units, inputs of x)"),
        ("bias_ih", bias_ih, (4 * units,), "(4 units)"),
        ("bias_hh", bias_hh, (4 * units,), "(4 units)"),
        ("h0", h0, (batch, units), "(batch of x, units)"),
        ("c0", c0, (batch, units), "(batch of x, units)"),
    )
    return batch, frames, inputs, units


def _check_tensors(x: Tensor, *expected: tuple[str, Tensor | None, tuple[int, ...], str]) -> None:
    for name, tensor, size, meaning in expected:
        if tensor is not None:
            _check.like(name, tensor, "x", x)
            _check.shape(name, tensor, size, meaning)


def _fake(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    reverse: bool,
    keep: bool,
) -> tuple[Tensor, ...]:
    batch, frames, _, units = _check_arguments(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0)
    kept = frames if keep else 0
    h, c = (x.new_empty((batch, units)) for _ in "hc")
    gates, cells = (_new_frames(x, kept, width) for width in (4 * units, units))
    return _new_frames(x, frames, units), h, c, gates, cells


def _new_frames(x: Tensor, frames: int, width: int) -> Tensor:
    """A tensor (batch of x, frames, width). On the CPU its frames come first in memory if those of x do."""
    batch = x.shape[0]
    if not x.is_cuda and not x.is_contiguous() and x.transpose(0, 1).is_contiguous():
        return x.new_empty((frames, batch, width)).transpose(0, 1)
    return x.new_empty((batch, frames, width))


def _fake_backward(
    dy: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    y: Tensor,
    gates: Tensor,
    cells: Tensor,
    reverse: bool,
    input: bool,
    parameters: bool,
    state: bool,
) -> tuple[Tensor, ...]:
    batch, frames, inputs, units = _check_arguments(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0)
    _check_tensors(
        x,
        ("y", y, (batch, frames, units), "(batch, frames, units)"),
        ("gates", gates, (batch, frames, 4 * units), "(batch, frames, 4 units)"),
        ("cells", cells, (batch, frames, units), "(batch, frames, units)"),
        ("dy", dy, (batch, frames, units), "the shape of y"),
        ("dh", dh, (batch, units), "the shape of h"),
        ("dc", dc, (batch, units), "the shape of c"),
    )
    sizes = (
        (parameters, (4 * units, inputs)),
        (parameters, (4 * units, units)),
        (parameters, (4 * units,)),
        (state, (batch, units)),
        (state, (batch, units)),
    )
    dx = _new_frames(x, frames, inputs) if input else x.new_empty((0,))
    return dx, *(x.new_empty(size if wanted else (0,)) for wanted, size in sizes)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, ctx.reverse, _ = inputs
    y, _, _, gates, cells = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(gates, cells)
    ctx.save_for_backward(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, y, gates, cells)


def _backward(ctx: Any, dy: Tensor | None, dh: Tensor | None, dc: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    """Compute only the gradients that are needed: that of x, those of all parameters together, that of the state."""
    x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, y, gates, cells = ctx.saved_tensors
    needs = ctx.needs_input_grad
    if gates.shape[1] == 0:  # the activations were not stored: compute them again
        *_, gates, cells = torch.ops.lite_rtse.lstm(
            x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, ctx.reverse, True
        )
    values = (dy, dh, dc, x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, y, gates, cells)
    grads = torch.ops.lite_rtse.lstm_backward(*values, ctx.reverse, needs[0], any(needs[1:5]), needs[5] or needs[6])
    dx, dweight_ih, dweight_hh, dbias, dh0, dc0 = grads
    other = dbias.clone() if needs[3] and needs[4] else dbias  # a separate tensor: it may be changed in place
    found = (dx, dweight_ih, dweight_hh, dbias, other, dh0, dc0)
    return *(grad if needed else None for grad, needed in zip(found, needs, strict=False)), None, None


@dataclass
class _PlainArguments:
    """The arguments of ``lstm_backward`` as arguments of :func:`reference.lstm`. Zeros replace each None."""

    inputs: list[Tensor]  # x, weight_ih, weight_hh, b_ih + b_hh, h0, c0
    douts: Tensor  # gradients of y, h and c, as reference.lstm returns them

    @staticmethod
    def of(
        dy: Tensor | None,
        dh: Tensor | None,
        dc: Tensor | None,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        h0: Tensor | None,
        c0: Tensor | None,
    ) -> _PlainArguments:
        (batch, frames, _), units = x.shape, weight_hh.shape[1]

        def or_zeros(t: Tensor | None, *size: int) -> Tensor:
            return x.new_zeros(size) if t is None else t

        bias = or_zeros(bias_ih, 4 * units) + or_zeros(bias_hh, 4 * units)
        state = [or_zeros(t, batch, units) for t in (h0, c0)]
        last = [or_zeros(t, batch, units).unsqueeze(1) for t in (dh, dc)]
        douts = torch.cat([or_zeros(dy, batch, frames, units), *last], 1)
        return _PlainArguments([x, weight_ih, weight_hh, bias, *state], douts)


def _backwards(x: Tensor, *others: Tensor) -> Tensor:
    """The formula for an LSTM that begins at the last frame."""
    outputs = reference.lstm(x.flip(1), *others)
    return torch.cat([outputs[:, :-2].flip(1), outputs[:, -2:]], 1)


def _formula(reverse: bool) -> Callable[..., Tensor]:
    return _backwards if reverse else reference.lstm


def _plain(*values: Any) -> tuple[Tensor, ...]:
    """The formula stores no activations, since PyTorch differentiates it itself."""
    *arguments, reverse, _ = values
    x, units = arguments[0], arguments[2].shape[1]
    outputs = _formula(reverse)(*_PlainArguments.of(None, None, None, *arguments).inputs)
    nothing = (x.new_empty(len(x), 0, size) for size in (4 * units, units))
    return outputs[:, :-2], outputs[:, -2].clone(), outputs[:, -1].clone(), *nothing


def _plain_backward(*values: Any) -> tuple[Tensor, ...]:
    """The gradients from the formula. y, gates and cells follow from the other arguments and are not read."""
    *arguments, _, _, _, reverse, input, parameters, state = values
    plain = _PlainArguments.of(*arguments)
    asked = (input, parameters, parameters, parameters, state, state)
    return _register.first_order(_formula(reverse), plain.inputs, plain.douts, asked)


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *values, _, _, _, ctx.reverse, x, parameters, state = inputs
    ctx.set_materialize_grads(False)
    ctx.asked = (x, parameters, parameters, parameters, state, state)
    ctx.save_for_backward(*values)


def _second(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    """Second derivatives through the formula in plain PyTorch.

    y, gates and cells follow from the other arguments and get no gradient.
    """
    plain = _PlainArguments.of(*ctx.saved_tensors)
    frames = plain.inputs[0].shape[1]
    ddouts, *by_x_and_weights, by_bias, by_h0, by_c0 = _register.second_order(
        _formula(ctx.reverse), plain.inputs, plain.douts, grads, ctx.asked
    )
    by_douts = (ddouts[:, :frames], ddouts[:, frames], ddouts[:, frames + 1])
    found = (*by_douts, *by_x_and_weights, by_bias, by_bias.clone(), by_h0, by_c0)
    needed = (grad if needs else None for grad, needs in zip(found, ctx.needs_input_grad, strict=False))
    return *needed, *[None] * 7  # y, gates, cells, and the four flags


def _products(x: Any, weight: Any) -> int:
    """Operations of one product with this weight at every frame. A multiply-add counts as two."""
    return 2 * int(x[0] * x[1] * weight[0] * weight[1])


def _flops(x: Any, weight_ih: Any, weight_hh: Any, *rest: Any, **_: Any) -> int:
    return _products(x, weight_ih) + _products(x, weight_hh)


def _flops_backward(*values: Any, **_: Any) -> int:
    x, weight_ih, weight_hh = values[3:6]
    input, parameters = values[-3:-1]
    by_x, by_h = _products(x, weight_ih), _products(x, weight_hh)
    return by_h + (by_x if input else 0) + (by_x + by_h if parameters else 0)


if _native.available():
    _register.operator("lstm", _fake, _plain, _setup, _backward, _flops)
    _register.operator("lstm_backward", _fake_backward, _plain_backward, _setup_second, _second, _flops_backward)
    _register.autocast("lstm", autocast_type)
    _register.vmap("lstm", batched=0)
    _register.vmap("lstm_backward", batched=0)
