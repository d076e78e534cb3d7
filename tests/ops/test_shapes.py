"""Any shape: drawn at random by hypothesis, and with dimensions of zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ..compare import assert_agrees
from .operators import (
    CAUSAL_DWCONV2D,
    CONV_BLOCK,
    MASK_RESIDUAL,
    MULTI_ORDER_CONV,
    Operator,
    Shape,
    cases,
    check_against_reference,
    cotangent,
    gradients,
)

SEEDS = st.integers(0, 2**16)
PLANES = st.one_of(
    st.fixed_dictionaries({"batch": st.integers(1, 3), "frames": st.integers(1, 70), "bins": st.integers(1, 40)}),
    st.fixed_dictionaries({"batch": st.integers(1, 2), "frames": st.integers(120, 700), "bins": st.integers(1, 6)}),
)

# A tensor of one element or two can be a small difference of large terms, and a search finds such. So the tolerances
# are loose here: float64 has digits to spare, and float32 need only tell a wrong result from a right one.
LOOSEN = {torch.float32: 500, torch.float64: 10}
DTYPES = st.sampled_from(tuple(LOOSEN))
ODD = st.sampled_from((1, 3, 5, 7, 9))


@st.composite
def depthwise_shapes(draw: st.DrawFn) -> Shape:
    kernel = draw(st.one_of(st.tuples(ODD, ODD), st.sampled_from(((3, 3), (7, 7)))))
    return Shape(**draw(PLANES), channels=draw(st.integers(1, 20)), kernel=kernel, bias=draw(st.booleans()))


@st.composite
def block_shapes(draw: st.DrawFn) -> Shape:
    return Shape(**draw(PLANES), channels=draw(st.integers(1, 40)), in_channels=draw(st.integers(1, 40)))


@st.composite
def multi_order_shapes(draw: st.DrawFn) -> Shape:
    order = draw(st.integers(2, 6))
    first_gate = draw(st.integers(1, 3 if order < 5 else 1))
    channels = first_gate * 2 ** (order - 1)
    size = draw(ODD)
    return Shape(
        **draw(PLANES),
        channels=channels,
        in_channels=draw(st.integers(1, 20)),
        out_channels=draw(st.sampled_from((1, channels))),
        order=order,
        kernel=(size, size),
    )


@st.composite
def spectrogram_shapes(draw: st.DrawFn) -> Shape:
    return Shape(**draw(PLANES), is_complex=draw(st.booleans()))


@given(shape=depthwise_shapes(), dtype=DTYPES, seed=SEEDS)
def test_any_depthwise_shape(shape: Shape, dtype: torch.dtype, seed: int, device: torch.device) -> None:
    check_against_reference(CAUSAL_DWCONV2D, shape, dtype, device, seed, LOOSEN[dtype])


@given(shape=block_shapes(), dtype=DTYPES, seed=SEEDS)
def test_any_conv_block_shape(shape: Shape, dtype: torch.dtype, seed: int, device: torch.device) -> None:
    check_against_reference(CONV_BLOCK, shape, dtype, device, seed, LOOSEN[dtype])


@given(shape=multi_order_shapes(), dtype=DTYPES, seed=SEEDS)
def test_any_multi_order_shape(shape: Shape, dtype: torch.dtype, seed: int, device: torch.device) -> None:
    check_against_reference(MULTI_ORDER_CONV, shape, dtype, device, seed, LOOSEN[dtype])


@given(shape=spectrogram_shapes(), dtype=DTYPES, seed=SEEDS)
def test_any_spectrogram_shape(shape: Shape, dtype: torch.dtype, seed: int, device: torch.device) -> None:
    check_against_reference(MASK_RESIDUAL, shape, dtype, device, seed, LOOSEN[dtype])


def some_dimension_is_zero(*dimensions: str) -> list[Any]:
    found = [case for case in cases(kind="empty") if any(getattr(case.values[1], name) == 0 for name in dimensions)]
    assert found, f"no shape has a zero among {dimensions}"
    return found


@pytest.mark.parametrize(("operator", "shape"), some_dimension_is_zero("batch", "frames", "bins", "channels"))
def test_empty_result(operator: Operator, shape: Shape, device: torch.device) -> None:
    """Nothing in, nothing out, and the gradients of what there is are zero."""
    tensors = operator.inputs(shape, device=device)
    y, found = gradients(operator, tensors)
    assert y.shape == operator.result_size(shape)
    assert y.numel() == 0
    for name, gradient in found.items():
        assert gradient.shape == tensors[name].shape
        assert not gradient.any(), f"gradient of {name} isn't zero"


@pytest.mark.parametrize(("operator", "shape"), some_dimension_is_zero("in_channels"))
def test_no_input_channels(operator: Operator, shape: Shape, device: torch.device) -> None:
    """A 1×1 over no channels gives its bias: the same as one channel of zeros."""
    tensors = operator.inputs(shape, device=device)
    y, found = gradients(operator, tensors)
    silent = {
        name: tensor if tensor.numel() else tensor.new_zeros([size or 1 for size in tensor.shape])
        for name, tensor in tensors.items()
    }
    exact, expected = gradients(operator.reference, silent, cotangent(y))
    assert_agrees(y, exact, 1e-6)
    for name, gradient in found.items():
        assert gradient.shape == tensors[name].shape
        if gradient.numel():
            assert_agrees(gradient, expected[name], 1e-5, f"gradient of {name}")
