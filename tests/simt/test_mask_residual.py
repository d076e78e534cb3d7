"""The CUDA kernels of mask_residual, run by the emulator: accuracy, memory orders, and the contract of tests/ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ..compare import assert_agrees, assert_all_agree, assert_same
from ..ops import test_mask_residual as contract
from ..ops.operators import (
    BACKWARD_TOLERANCE,
    FORWARD_TOLERANCE,
    HALF_TYPES,
    MASK_RESIDUAL,
    Shape,
    check_against_reference,
    check_no_worse_than_eager,
    cotangent,
    double,
    gradients,
)
from . import harness
from .mutants import Mutant
from .test_sanitizers import InOrder

pytestmark = harness.needs("mask_residual")

EXACT_TYPES = (torch.float64, torch.float32)
SHAPES = (
    Shape(batch=1, frames=1, bins=1),
    Shape(batch=2, frames=1, bins=5),
    Shape(batch=1, frames=17, bins=257),  # two tiles of frames, the last of one; two or three of bins
    Shape(batch=2, frames=3, bins=258),
    Shape(batch=1, frames=33, bins=7),
    Shape(batch=3, frames=4, bins=16, is_complex=True),
)
USUAL = Shape(batch=2, frames=18, bins=37)


def as_stft(x: Tensor) -> Tensor:
    """The memory order of ``torch.stft``: bins side by side."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def as_stft_padded(x: Tensor) -> Tensor:
    """Bins side by side, with a gap after each frame that puts the next one at another alignment."""
    return torch.nn.functional.pad(x.transpose(1, 2), (0, 0, 0, 3), value=torch.nan)[:, :, : x.shape[1]].transpose(1, 2)


def as_planes(x: Tensor) -> Tensor:
    """Real and imaginary parts apart, frames side by side."""
    return torch.stack(x.unbind(-1), 1).movedim(1, -1)


def as_planes_of_stft(x: Tensor) -> Tensor:
    """Real and imaginary parts apart, bins side by side."""
    return as_planes(x.transpose(1, 2)).transpose(1, 2)


def every_other(x: Tensor) -> Tensor:
    """Every other element in all dimensions."""
    wider = x.new_full([2 * size + 1 for size in x.shape], torch.nan)
    return wider[tuple(slice(1, None, 2) for _ in x.shape)].copy_(x)


def shifted_frames(x: Tensor) -> Tensor:
    """Frames side by side, but not where 16 bytes begin, and with a gap after each bin."""
    return torch.nn.functional.pad(x, (0, 0, 1, 2), value=torch.nan)[:, :, 1:-2]


Order = Callable[[Tensor], Tensor]
ORDERS: tuple[Order, ...] = (
    torch.Tensor.contiguous,
    as_stft,
    as_stft_padded,
    as_planes,
    as_planes_of_stft,
    every_other,
    shifted_frames,
)


@pytest.fixture
def device() -> torch.device:
    """In place of all devices: the emulator's memory is the host's."""
    return torch.device("cpu")


@pytest.mark.parametrize("dtype", EXACT_TYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(shape: Shape, dtype: torch.dtype, device: torch.device) -> None:
    check_against_reference(harness.emulated(MASK_RESIDUAL, seed=shape.bins), shape, dtype, device)


@pytest.mark.parametrize("dtype", HALF_TYPES, ids=str)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if not shape.is_complex], ids=str)
def test_half_types(shape: Shape, dtype: torch.dtype, device: torch.device) -> None:
    check_no_worse_than_eager(harness.emulated(MASK_RESIDUAL), shape, dtype, device)


@pytest.mark.parametrize("shape", MASK_RESIDUAL.empty, ids=str)
def test_empty(shape: Shape) -> None:
    y, found = gradients(harness.emulated(MASK_RESIDUAL), MASK_RESIDUAL.inputs(shape))
    assert y.numel() == 0
    assert all(gradient.numel() == 0 for gradient in found.values())


@pytest.mark.parametrize("shift", [0, 1, 3])
@pytest.mark.parametrize("dtype", harness.DTYPES, ids=str)
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.__name__)
def test_memory_orders(order: Order, dtype: torch.dtype, shift: int) -> None:
    """X in any order and at any address, dS in that order and in others: the same values."""
    check_order(order, dtype, shift=shift)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.__name__)
def test_accesses_stay_within_bounds(order: Order) -> None:
    check_order(order, torch.float32, shift=1, flavour="asan")


@pytest.mark.parametrize("order", [torch.Tensor.contiguous, as_stft], ids=lambda order: order.__name__)
def test_no_data_races(order: Order) -> None:
    check_order(order, torch.float32, flavour="tsan")


def check_order(order: Order, dtype: torch.dtype, **options: Any) -> None:
    tensors = MASK_RESIDUAL.inputs(USUAL, dtype=dtype)
    dy = cotangent(tensors["spectrogram"])
    exact, expected = gradients(MASK_RESIDUAL.reference, double(tensors), dy)
    x, *heads = MASK_RESIDUAL.arguments(tensors)
    roundoff = torch.finfo(dtype).eps
    forward = FORWARD_TOLERANCE.get(dtype, roundoff)
    backward = BACKWARD_TOLERANCE.get(dtype, roundoff)
    assert_agrees(harness.run("mask_residual", order(x), *heads, **options), exact, forward)
    others = ORDERS if options.get("flavour", "plain") == "plain" else ORDERS[:2]
    for dy_order in dict.fromkeys((order, *others)) if options.get("shift", 0) < 3 else (order,):
        found = harness.run("mask_residual_backward", dy_order(dy), order(x), *heads, **options)
        assert_all_agree(found, [*expected.values()], backward, [f"{n}, dS {dy_order.__name__}" for n in expected])


def test_expanded_gradient() -> None:
    """dS of one element, as a sum gives it: all strides are zero."""
    tensors = MASK_RESIDUAL.inputs(USUAL)
    x, *heads = MASK_RESIDUAL.arguments(tensors)
    dy = torch.tensor(0.75).expand(x.shape)
    _, expected = gradients(MASK_RESIDUAL.reference, double(tensors), dy)
    assert_all_agree(harness.run("mask_residual_backward", dy, x, *heads), [*expected.values()], 1e-5, [*expected])


@pytest.mark.parametrize("order", [torch.Tensor.contiguous, as_stft], ids=lambda order: order.__name__)
def test_any_schedule_gives_the_same_bits(order: Order) -> None:
    x, *heads = MASK_RESIDUAL.arguments(MASK_RESIDUAL.inputs(USUAL))
    for name, arguments in (("mask_residual", (order(x),)), ("mask_residual_backward", (order(x), order(x)))):
        first, second = (harness.run(name, *arguments, *heads, seed=seed) for seed in (1, 2))
        for a, b in zip(*((r,) if isinstance(r, Tensor) else r for r in (first, second)), strict=True):
            assert_same(a, b)


@pytest.mark.parametrize("order", [torch.Tensor.contiguous, as_stft], ids=lambda order: order.__name__)
def test_nan_stays_where_it_is(order: Order) -> None:
    tensors = MASK_RESIDUAL.inputs(USUAL)
    for name in tensors:
        broken = dict(tensors) | {name: tensors[name].clone()}
        place = (1, 9, 7) if name != "spectrogram" else (1, 7, 9)
        broken[name][place] = torch.nan
        x, *heads = MASK_RESIDUAL.arguments(broken)
        y = harness.run("mask_residual", order(x), *heads)
        assert y[1, 7, 9].isnan().all(), name
        assert y.isnan().sum() == 2, name


class TestContract:
    """What tests/ops holds the operator to, held to by the CUDA kernels."""

    @pytest.fixture(autouse=True)
    def emulated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        operator = harness.emulated(MASK_RESIDUAL)
        monkeypatch.setattr(contract, "MASK_RESIDUAL", operator)
        monkeypatch.setattr(contract, "mask_residual", operator.function)

    test_silence = staticmethod(contract.test_silence_has_finite_gradients)
    test_silent_bins_among_others = staticmethod(contract.test_silent_bins_among_others)
    test_no_direction = staticmethod(contract.test_no_direction)
    test_opposite_direction = staticmethod(contract.test_opposite_direction)
    test_size_of_the_direction = staticmethod(contract.test_size_of_the_direction_does_not_matter)
    test_directions_of_mixed_size = staticmethod(contract.test_directions_of_mixed_size)
    test_denormal_direction = staticmethod(contract.test_denormal_direction)
    test_size_of_the_spectrogram = staticmethod(contract.test_size_of_the_spectrogram_does_not_matter)
    test_saturated_masks = staticmethod(contract.test_saturated_masks)
    test_layouts_agree = staticmethod(contract.test_layouts_agree)
    test_takes_what_stft_gives = staticmethod(contract.test_takes_what_stft_gives)
    test_identity = staticmethod(contract.test_a_mask_of_one_and_no_residual_is_the_identity)
    test_is_as_exact_as_the_eager_graph = staticmethod(contract.test_is_as_exact_as_the_eager_graph)
    test_smallest_residual = staticmethod(contract.test_gradients_are_finite_for_the_smallest_residual)
    test_infinite_residual = staticmethod(contract.test_infinite_residual_has_the_angle_of_its_parts)


# Large enough for several chunks, stages, tiles, and rows that are not aligned.
PLANTED = Shape(batch=1, frames=20, bins=37)
IN_ORDER, IN_ORDER_PLANTED = InOrder(), Shape(batch=2, frames=7, bins=19)
MUTANTS = (
    Mutant(
        MASK_RESIDUAL,
        "forward",
        "index",
        "every frame of a pack put into the first",
        "mask_residual.cuh",
        "if (v < count) tile.put(t + v, f, {",
        "if (v < count) tile.put(t, f, {",
        PLANTED,
    ),
    Mutant(
        IN_ORDER,
        "forward",
        "mask",
        "parts stored beyond a row",
        "mask_residual.cuh",
        "half[h], 2 * at.begin - h * W, 2 * at.end - h * W);\n  }\n  __device__ __forceinline__ ComplexOf",
        "half[h], 0, W);\n  }\n  __device__ __forceinline__ ComplexOf",
        IN_ORDER_PLANTED,
    ),
    Mutant(
        MASK_RESIDUAL,
        "backward",
        "barrier",
        "none before storing",
        "mask_residual.cuh",
        "  __syncthreads();\n  if (!Backward || a.y.data) store_tile(",
        "  if (!Backward || a.y.data) store_tile(",
        PLANTED,
    ),
)
