"""Batch norm and PReLU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.ops import _check, _native, _register


def norm_prelu(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    slope: Tensor | None = None,
    mean: Tensor | None = None,
    var: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Batch norm and PReLU in one pass: z for z > 0, and slope · z otherwise.

        z = weight (x - mean) / sqrt(var + eps) + bias

    With mean 0, var 1 and eps 0 this is PReLU alone.

    Args:
        x: (batch, channels, ...), float64, float32, float16 or bfloat16.
        weight, bias: (channels,), or None, which stands for ones and zeros.
        slope: (channels,) or (1,), or None, which leaves the PReLU out.
        mean, var: (channels,), such as the running statistics. They get no gradient. None stands for the mean and the
            variance of each channel of x, divided by the number of values.
        eps: added to the variance.

    Returns:
        A tensor like x, and the statistics: mean and var, (2, channels). They are float64 if x is, and float32
        otherwise. They get no gradient.

    Raises:
        TypeError: ``x`` is not a tensor.
        RuntimeError: an argument has a wrong shape, dtype or device (the message names the argument), mean or var
            requires a gradient, or the compiled operators are missing.
    """
    _native.require()
    _check.tensor("x", x)
    if x.is_cuda and not _native.has_cuda():
        raise RuntimeError(
            f"x is on {x.device}, but this build runs norm_prelu on the CPU only: use torch.nn.BatchNorm2d there"
        )
    if x.dim() < 2:
        raise RuntimeError(f"x has shape {tuple(x.shape)}, must be (batch, channels, ...)")
    for name, t in (("mean", mean), ("var", var)):
        if t is not None and t.requires_grad:
            raise RuntimeError(f"{name} requires a gradient, but norm_prelu computes none for it")
    points = x.flatten(2) if x.dim() > 2 else x.unsqueeze(2)
    y, statistics = _register.run(torch.ops.lite_rtse.norm_prelu, points, weight, bias, slope, mean, var, eps)
    return y.view_as(x), statistics


def _check_arguments(x: Tensor, weight: Tensor | None, bias: Tensor | None, slope: Tensor | None, eps: float) -> None:
    """Check the arguments that forward and backward share."""
    _check.dtype("x", x)
    _check.shape("x", x, (None, None, None), "(batch, channels, points)")
    if eps < 0:
        raise RuntimeError(f"eps is {eps:g}, must be at least 0")
    _check_parameter("weight", weight, x)
    _check_parameter("bias", bias, x)
    if slope is None or slope.shape != (1,):
        _check_parameter("slope", slope, x, "(1) or (channels of x)")


def _check_parameter(name: str, t: Tensor | None, x: Tensor, meaning: str = "(channels of x)") -> None:
    if t is not None:
        _check.like(name, t, "x", x)
        _check.shape(name, t, (x.shape[1],), meaning)


def _statistics_type(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _fake(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    slope: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    _check_arguments(x, weight, bias, slope, eps)
    if (mean is None) != (var is None):
        raise RuntimeError("mean and var: one is None, both must be tensors or None")
    _check_parameter("mean", mean, x)
    _check_parameter("var", var, x)
    return x.new_empty(x.shape), x.new_empty((2, x.shape[1]), dtype=_statistics_type(x))


def _fake_backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    slope: Tensor | None,
    statistics: Tensor,
    batch_statistics: bool,
    eps: float,
    input: bool,
    parameters: bool,
) -> tuple[Tensor, ...]:
    _check_arguments(x, weight, bias, slope, eps)
    _check.like("dy", dy, "x", x)
    _check.shape("dy", dy, tuple(x.shape), "the shape of x")
    _check.device("statistics", statistics, "x", x)
    _check.shape("statistics", statistics, (2, x.shape[1]), "(2, channels of x)")
    if statistics.dtype != _statistics_type(x):
        raise RuntimeError(f"statistics has dtype {statistics.dtype}, must be {_statistics_type(x)}")
    wanted = _register.if_asked((x, weight, bias, slope), (input, *[parameters] * 3))
    return tuple(x.new_empty((0,) if t is None else t.shape) for t in wanted)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, bias, slope, mean, _, ctx.eps = inputs
    ctx.batch_statistics = mean is None
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, weight, bias, slope, output[1])


def _backward(ctx: Any, dy: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    """Compute only the gradients that are needed: that of x, and those of all parameters together."""
    needs = ctx.needs_input_grad[:4]
    options = (ctx.batch_statistics, ctx.eps, needs[0], any(needs[1:]))
    grads = torch.ops.lite_rtse.norm_prelu_backward(dy, *ctx.saved_tensors, *options)
    return *_register.if_asked(grads, needs), None, None, None


def _plain(*values: Any) -> tuple[Tensor, Tensor]:
    x, *_, mean, var, _ = values
    if mean is None:
        mean, var = reference.channel_statistics(x.detach())
    return reference.norm_prelu(*values), torch.stack([mean, var]).detach().to(_statistics_type(x))


class _Formula:
    """The formula as a function of x and the parameters that are given."""

    def __init__(
        self, inputs: tuple[Tensor | None, ...], statistics: Tensor, batch_statistics: bool, eps: float
    ) -> None:
        self.given = [t is not None for t in inputs]
        self.values: list[Tensor] = [t for t in inputs if t is not None]
        given = statistics.to(self.values[0].dtype)
        self.statistics = (None, None) if batch_statistics else (given[0], given[1])
        self.eps = eps

    def __call__(self, *values: Tensor) -> Tensor:
        mean, var = self.statistics
        x, weight, bias, slope = self.spread(values)
        return reference.norm_prelu(x, weight, bias, slope, mean, var, self.eps)

    def spread(self, values: Any) -> list[Any]:
        """The values at the places of the inputs, with None for an input that is None."""
        rest = iter(values)
        return [next(rest) if given else None for given in self.given]

    def given_of(self, values: Any) -> list[Any]:
        """The values at the places of the inputs that are not None."""
        return [value for value, given in zip(values, self.given, strict=True) if given]


def _plain_backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    slope: Tensor | None,
    statistics: Tensor,
    batch_statistics: bool,
    eps: float,
    input: bool,
    parameters: bool,
) -> tuple[Tensor, ...]:
    formula = _Formula((x, weight, bias, slope), statistics, batch_statistics, eps)
    asked = formula.given_of((input, *[parameters] * 3))
    return _register.or_empty(x, formula.spread(_register.first_order(formula, formula.values, dy, asked)))


def _setup_second(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.batch_statistics, ctx.eps, input, parameters = inputs
    ctx.asked = (input, *[parameters] * 3)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors)


def _second(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    dy, *inputs, statistics = ctx.saved_tensors
    formula = _Formula(tuple(inputs), statistics, ctx.batch_statistics, ctx.eps)
    given = (formula.given_of(grads), formula.given_of(ctx.asked))
    ddy, *rest = _register.second_order(formula, formula.values, dy, *given)
    return ddy, *formula.spread(rest), *[None] * 5


def _flops(*shapes: Any, **_: Any) -> int:
    """Zero operations: PyTorch counts matrix products and convolutions only."""
    return 0


if _native.available():
    _register.operator("norm_prelu", _fake, _plain, _setup, _backward, _flops)
    _register.operator("norm_prelu_backward", _fake_backward, _plain_backward, _setup_second, _second, _flops)
    _register.autocast("norm_prelu", _register.full_precision)
    _register.vmap("norm_prelu", batched=0)
    _register.vmap("norm_prelu_backward", batched=0)
