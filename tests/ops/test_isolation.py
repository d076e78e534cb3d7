"""What must not reach what: the future the past, one utterance another. NaN, infinity and changes stay in place."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ..compare import assert_same
from .operators import Operator, Shape, cotangent, gradients

FRAMES = 75  # more than two chunks of a few dozen frames, whatever the chunk


@pytest.fixture(autouse=True)
def of_single_samples(request: pytest.FixtureRequest) -> None:
    """Skips an operator with statistics of all frames and utterances."""
    operator = request.node.callspec.params.get("operator")
    if operator is not None and not operator.alone:
        pytest.skip("the statistics are those of the batch")


def long_shape(operator: Operator) -> Shape:
    return replace(operator.usual, frames=FRAMES)


def changed_from(
    operator: Operator, tensors: dict[str, Tensor], frame: int, value: float | None = None
) -> dict[str, Tensor]:
    """The same inputs with other signals from ``frame`` on: other random ones, or ``value``."""
    other = {name: tensor.clone() for name, tensor in tensors.items()}
    for name, dim in operator.signals.items():
        late = other[name].narrow(dim, frame, FRAMES - frame)
        late.copy_(cotangent(late, seed=5)) if value is None else late.fill_(value)
    return other


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
@pytest.mark.parametrize("frame", [1, 6, 7, 31, 32, 33, 64, 74])
def test_the_future_does_not_reach_the_past(
    operator: Operator, frame: int, value: float | None, device: torch.device
) -> None:
    """Frames before a change are the same bit for bit; the frame of the change is not."""
    tensors = operator.inputs(long_shape(operator), device=device)
    y, changed = operator(tensors), operator(changed_from(operator, tensors, frame, value))
    time = operator.time_dim
    assert_same(changed.narrow(time, 0, frame), y.narrow(time, 0, frame))
    assert not torch.equal(changed.narrow(time, frame, 1), y.narrow(time, frame, 1))


@pytest.mark.parametrize("frame", [1, 7, 32, 74])
def test_gradients_do_not_flow_to_the_future(operator: Operator, frame: int, device: torch.device) -> None:
    """The gradient of a signal's frame comes from results at that frame and later: earlier ones don't change it."""
    tensors = operator.inputs(long_shape(operator), device=device)
    dy = cotangent(operator(tensors))
    other = dy.clone()
    other.narrow(operator.time_dim, 0, frame).mul_(-3)
    _, expected = gradients(operator, tensors, dy)
    _, found = gradients(operator, tensors, other)
    for name, dim in operator.signals.items():
        late = FRAMES - frame
        assert_same(found[name].narrow(dim, frame, late), expected[name].narrow(dim, frame, late), name)
        assert not torch.equal(found[name].narrow(dim, frame - 1, 1), expected[name].narrow(dim, frame - 1, 1))


def poisoned(operator: Operator, tensors: dict[str, Tensor], value: float, frame: int) -> dict[str, Tensor]:
    """One frame of the second utterance is ``value`` in every signal."""
    other = {name: tensor.clone() for name, tensor in tensors.items()}
    for name, dim in operator.signals.items():
        other[name][1].select(dim - 1, frame).fill_(value)
    return other


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_utterance_does_not_reach_another(
    operator: Operator, value: float, dtype: torch.dtype, device: torch.device
) -> None:
    """NaN or infinity in one utterance shows there, and changes no bit of the others or of their gradients."""
    frame = 40
    tensors = operator.inputs(long_shape(operator), dtype=dtype, device=device)
    y, expected = gradients(operator, tensors)
    found_y, found = gradients(operator, poisoned(operator, tensors, value, frame))
    assert not torch.isfinite(found_y[1]).all(), "the poison isn't seen in its own utterance"
    assert_same(found_y[1].narrow(operator.time_dim - 1, 0, frame), y[1].narrow(operator.time_dim - 1, 0, frame))
    for utterance in (0, 2):
        assert_same(found_y[utterance], y[utterance], f"utterance {utterance}")
        for name in operator.signals:
            assert_same(found[name][utterance], expected[name][utterance], f"gradient of {name}, utterance {utterance}")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_one_gradient_does_not_reach_another_utterance(operator: Operator, value: float, device: torch.device) -> None:
    tensors = operator.inputs(long_shape(operator), device=device)
    dy = cotangent(operator(tensors))
    poisoned_dy = dy.clone()
    poisoned_dy[1].select(operator.time_dim - 1, 40).fill_(value)
    _, expected = gradients(operator, tensors, dy)
    _, found = gradients(operator, tensors, poisoned_dy)
    for name in operator.signals:
        assert not torch.isfinite(found[name][1]).all(), f"gradient of {name} hides the poison"
        for utterance in (0, 2):
            assert_same(found[name][utterance], expected[name][utterance], f"gradient of {name}, utterance {utterance}")


def test_a_nan_reaches_what_depends_on_it(operator: Operator, device: torch.device) -> None:
    """A NaN is never hidden: the results that the reference makes NaN are NaN, and no others."""
    tensors = operator.inputs(long_shape(operator), device=device)
    for name, dim in operator.signals.items():
        spoiled = dict(tensors) | {name: tensors[name].clone()}
        spoiled[name][1].select(dim - 1, 40).select(-1, 0).fill_(math.nan)
        found, expected = operator(spoiled), operator.reference(spoiled)
        assert torch.equal(found.isnan(), expected.isnan()), f"NaN in {name}"


def test_a_nan_weight_shows(convolution: Operator, device: torch.device) -> None:
    tensors = convolution.inputs(convolution.usual, device=device)
    for name in tensors:
        if name in convolution.signals:
            continue
        spoiled = dict(tensors) | {name: tensors[name].clone()}
        spoiled[name].flatten()[0] = math.nan
        assert torch.equal(convolution(spoiled).isnan(), convolution.reference(spoiled).isnan()), f"NaN in {name}"
