"""One layer of a GRU in one or two directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.ops import _check, _native, _register
from lite_rtse_ext.utils.tracing import is_traced


def gru(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor] = (), state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A GRU over whole sequences. It computes the same as a one-layer ``torch.nn.GRU(batch_first=True)``.

        r, z = σ(W_ih x + b_ih + W_hh h + b_hh),   n = tanh(W_ih x + b_ih + r (W_hh h + b_hh))
        h = (1 - z) n + z h

    The kernel computes many sequences at once. It suits many short sequences, such as those of dual-path networks.

    Args:
        x: (batch, frames, inputs), with at least one frame.
        weights: W_ih (3 units, inputs) and W_hh (3 units, units), with the gates in the order r, z, n. Two more
            weights make a second direction, which begins at the last frame.
        biases: b_ih and b_hh (3 units,) for each direction, or an empty list.
        state: h before the first frame, (directions, batch, units). None stands for zeros.

    On CUDA the frames are computed by one kernel. If W_hh is too large for the shared memory of one block, several
    blocks share it. These must all be on the GPU at the same time, so very many units do not fit.

    Returns:
        h at every frame, (batch, frames, directions · units), and the last h of each direction, (directions, batch,
        units).

    Raises:
        TypeError: ``x`` or ``state`` is not a tensor.
        RuntimeError: an argument has a wrong shape, dtype or device (the message names the argument), or the compiled
            operators are missing.
    """
    _native.require()
    _check.tensor("x", x)
    if x.is_cuda and not _native.has_cuda():
        raise RuntimeError(f"x is on {x.device}, but this build runs gru on the CPU only: use torch.nn.GRU there")
    weights, biases = list(weights), list(biases)
    _check.optional({"state": state})
    values = [x, *weights, *biases, state]
    differentiable = torch.is_grad_enabled() and any(v is not None and v.requires_grad for v in values)
    keep = differentiable and not is_traced()  # a trace must serve both modes
    y, _ = _register.run(torch.ops.lite_rtse.gru, x, weights, biases, state, keep)
    return y, last_state(y, len(weights) // 2)


def gru_fits(dtype: torch.dtype, units: int, directions: int, device: int) -> bool:
    """Whether the CUDA kernels of this build can run so many units on a device, given by its index."""
    return _native.has_cuda() and _native.gru_fits(_check.DTYPES.index(dtype), units, directions, device)


def last_state(y: Tensor, directions: int) -> Tensor:
    """The last h of each direction, (directions, batch, units), in memory of its own."""
    if directions == 1:
        return y[:, -1].unsqueeze(0).clone(memory_format=torch.contiguous_format)
    units = y.shape[2] // 2
    return torch.stack([y[:, -1, :units], y[:, 0, units:]])


def _check_arguments(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], h0: Tensor | None
) -> tuple[int, int, int, int, int]:
    """Check the arguments that forward and backward share. Returns batch, frames, inputs, units and directions."""
    _check.dtype("x", x)
    _check.shape("x", x, (None, None, None), "(batch, frames, inputs)")
    if x.shape[1] == 0:
        raise RuntimeError(f"x has shape {tuple(x.shape)}, must have at least one frame")
    if len(weights) not in (2, 4):
        raise RuntimeError(f"weights has {len(weights)} tensors, must have 2 for each of one or two directions")
    if biases and len(biases) != len(weights):
        raise RuntimeError(f"biases has {len(biases)} tensors, must have {len(weights)} or none")
    _check.shape("weights[1]", weights[1], (None, None), "(3 units, units)")
    if weights[1].shape[1] == 0:
        raise RuntimeError(f"weights[1] has shape {tuple(weights[1].shape)}, must have at least one unit")
    (batch, frames, inputs), units, directions = x.shape, weights[1].shape[1], len(weights) // 2
    for i, weight in enumerate(weights):
        _check.like(f"weights[{i}]", weight, "x", x)
        width, meaning = (units, "(3 units, units)") if i % 2 else (inputs, "(3 units, inputs of x)")
        _check.shape(f"weights[{i}]", weight, (3 * units, width), meaning)
    for i, bias in enumerate(biases):
        _check.like(f"biases[{i}]", bias, "x", x)
        _check.shape(f"biases[{i}]", bias, (3 * units,), "(3 units)")
    if h0 is not None:
        _check.like("h0", h0, "x", x)
        _check.shape("h0", h0, (directions, batch, units), "(directions, batch of x, units)")
    return batch, frames, inputs, units, directions


_KEPT_VALUES, _KEPT_GAP = 4, 16  # as in csrc/operators.h


def _kept_size(batch: int, frames: int, units: int, directions: int) -> int:
    return directions * (_KEPT_VALUES * units * frames * batch + _KEPT_GAP)


def _kept_type(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _fake(x: Tensor, weights: list[Tensor], biases: list[Tensor], h0: Tensor | None, keep: bool) -> tuple[Tensor, ...]:
    batch, frames, _, units, directions = _check_arguments(x, weights, biases, h0)
    size = _kept_size(batch, frames, units, directions) if keep else 0
    y = x.new_empty((batch, frames, directions * units))
    return y, x.new_empty((size,), dtype=_kept_type(x))


def _fake_backward(
    dy: Tensor,
    x: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    h0: Tensor | None,
    y: Tensor,
    kept: Tensor,
    input: bool,
    parameters: bool,
    state: bool,
) -> list[Tensor]:
    batch, frames, _, units, directions = _check_arguments(x, weights, biases, h0)
    outputs = (batch, frames, directions * units)
    _check.like("y", y, "x", x)
    _check.shape("y", y, outputs, "(batch, frames, directions · units)")
    _check.like("dy", dy, "x", x)
    _check.shape("dy", dy, outputs, "the shape of y")
    _check.device("kept", kept, "x", x)
    _check.shape("kept", kept, (_kept_size(batch, frames, units, directions),), "what gru kept of these tensors")
    if kept.dtype != _kept_type(x):
        raise RuntimeError(f"kept has dtype {kept.dtype}, must be {_kept_type(x)}")
    sizes = [(input, x.shape), *((parameters, t.shape) for t in (*weights, *biases))]
    sizes.append((state, torch.Size((directions, batch, units))))
    return [x.new_empty(size if wanted else (0,)) for wanted, size in sizes]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weights, biases, h0, _ = inputs
    y, kept = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(kept)
    ctx.counts = len(weights), len(biases)
    ctx.save_for_backward(x, *weights, *biases, h0, y, kept)


def _split(ctx: Any, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """The weights, the biases and the rest of a flat list that begins with the weights."""
    weights, biases = ctx.counts
    return list(values[:weights]), list(values[weights : weights + biases]), list(values[weights + biases :])


def _backward(ctx: Any, dy: Tensor | None, _: Any) -> tuple[Any, ...]:
    """Compute only the gradients that are needed: that of x, those of all parameters together, that of the state."""
    x, *others = ctx.saved_tensors
    weights, biases, (h0, y, kept) = _split(ctx, others)
    if dy is None:
        return (None, [None] * len(weights), [None] * len(biases), None, None)
    if kept.shape[0] == 0:  # the activations were not stored: compute them again
        _, kept = torch.ops.lite_rtse.gru(x, weights, biases, h0, True)
    by_x, by_weights, by_biases, by_h0, _ = ctx.needs_input_grad
    by_parameters = any(by_weights) or any(by_biases)
    needs = (by_x, by_parameters, bool(by_h0))
    dx, *grads = torch.ops.lite_rtse.gru_backward(dy, x, weights, biases, h0, y, kept, *needs)
    dweights, dbiases, (dh0,) = _split(ctx, grads)
    return (
        dx if by_x else None,
        list(_register.if_asked(dweights, by_weights)),
        list(_register.if_asked(dbiases, by_biases)),
        dh0 if by_h0 else None,
        None,
    )


def _formula(directions: int, with_biases: bool) -> Any:
    """:func:`reference.gru` as a function of x, the weights, the biases and h0 one by one."""

    def formula(x: Tensor, *values: Tensor) -> Tensor:
        *parameters, h0 = values
        biases = parameters[2 * directions :] if with_biases else []
        return reference.gru(x, parameters[: 2 * directions], biases, h0)

    return formula


def _plain_inputs(x: Tensor, weights: list[Tensor], biases: list[Tensor], h0: Tensor | None) -> list[Tensor]:
    """The arguments of :func:`_formula`. Zeros replace a state of None."""
    size = (len(weights) // 2, x.shape[0], weights[1].shape[1])
    return [x, *weights, *biases, x.new_zeros(size) if h0 is None else h0]


def _plain(
    x: Tensor, weights: list[Tensor], biases: list[Tensor], h0: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor]:
    """The formula stores no activations, since PyTorch differentiates it itself."""
    formula = _formula(len(weights) // 2, bool(biases))
    return formula(*_plain_inputs(x, weights, biases, h0)), x.new_empty((0,), dtype=_kept_type(x))


def _plain_backward(
    dy: Tensor,
    x: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    h0: Tensor | None,
    y: Tensor,
    kept: Tensor,
    input: bool,
    parameters: bool,
    state: bool,
) -> list[Tensor]:
    """The gradients from the formula. y and kept follow from the other arguments and are not read."""
    formula = _formula(len(weights) // 2, bool(biases))
    asked = [input, *[parameters] * (len(weights) + len(biases)), state]
    return list(_register.first_order(formula, _plain_inputs(x, weights, biases, h0), dy, asked))


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    dy, x, weights, biases, h0, _, _, input, parameters, state = inputs
    ctx.counts = len(weights), len(biases)
    ctx.asked = [input, *[parameters] * (len(weights) + len(biases)), state]
    ctx.save_for_backward(dy, x, *weights, *biases, h0)


def _second(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """Second derivatives through the formula in plain PyTorch.

    y and kept follow from the other arguments and get no gradient.
    """
    dy, x, *others = ctx.saved_tensors
    weights, biases, (h0,) = _split(ctx, others)
    formula = _formula(len(weights) // 2, bool(biases))
    ddy, by_x, *rest = _register.second_order(formula, _plain_inputs(x, weights, biases, h0), dy, grads, ctx.asked)
    by_weights, by_biases, (by_h0,) = _split(ctx, rest)
    return ddy, by_x, by_weights, by_biases, None if h0 is None else by_h0, *[None] * 5


def _products(x: Any, weights: Any) -> int:
    """Operations of one product with each of these weights at every frame. A multiply-add counts as two."""
    return sum(2 * int(x[0] * x[1] * weight[0] * weight[1]) for weight in weights)


def _flops(x: Any, weights: Any, *_: Any, **__: Any) -> int:
    return _products(x, weights)


def _flops_backward(dy: Any, x: Any, weights: Any, *rest: Any, **_: Any) -> int:
    input, parameters = rest[-3:-1]
    by_x, by_h = _products(x, weights[::2]), _products(x, weights[1::2])
    return by_h + (by_x if input else 0) + (by_x + by_h if parameters else 0)


if _native.available():
    _register.operator("gru", _fake, _plain, _setup, _backward, _flops)
    _register.operator("gru_backward", _fake_backward, _plain_backward, _setup_second, _second, _flops_backward)
    _register.autocast("gru", _register.full_precision)
    _register.vmap("gru", batched=0)
    _register.vmap("gru_backward", batched=0)
    _register.batched_gradients("gru_backward", _plain_backward)
