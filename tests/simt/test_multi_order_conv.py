"""The CUDA kernels of multi_order_conv, run by the emulator, against the reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ..compare import assert_same
from ..ops import test_shapes
from ..ops.operators import (
    HALF_TYPES,
    MULTI_ORDER_CONV,
    Shape,
    check_against_reference,
    check_no_worse_than_eager,
    gradients,
)
from . import harness
from .mutants import Mutant, copy_sources, replace_once

pytestmark = harness.needs("multi_order_conv")

CPU = torch.device("cpu")

# Taps of 3 x 3 and 7 x 7 are unrolled. One output channel is summed by the gate chain itself.
UNROLLED = (
    Shape(batch=1, frames=1, bins=5, channels=8, in_channels=5, order=3, kernel=(7, 7)),
    Shape(batch=2, frames=9, bins=21, channels=16, in_channels=5, order=3, kernel=(7, 7)),
    Shape(batch=1, frames=6, bins=12, channels=8, in_channels=3, out_channels=2, order=2, kernel=(3, 3)),
)
LOOPS = (
    Shape(batch=1, frames=7, bins=9, channels=16, in_channels=2, order=5, kernel=(5, 5)),
    Shape(batch=2, frames=4, bins=5, channels=4, in_channels=1, out_channels=3, order=2, kernel=(1, 1)),
)
USUAL = UNROLLED[1]
# 1175 points are 10 tiles of a 1x1 convolution, the last of 23 points. 64 channels of h are two blocks of weights.
TILES = Shape(batch=1, frames=47, bins=25, channels=32, in_channels=5, order=3, kernel=(3, 3))
# Two steps of a product on tensor cores, and a second block of sources. 144 points are two tiles, and only the first is
# read by wide accesses.
STEPS = Shape(batch=1, frames=9, bins=16, channels=16, in_channels=43, out_channels=19, order=2, kernel=(3, 3))
# On tensor cores four lanes have 40 bins. 300 bins are two tiles.
BANDS = tuple(
    Shape(batch=1, frames=9, bins=bins, channels=4, in_channels=2, order=3, kernel=(7, 7)) for bins in (41, 257, 300)
)


def device(multiprocessors: int) -> harness.Device:
    """An RTX 3090 with so many multiprocessors. With one, utterances are taken one by one and a block has all frames;
    with many, frames are cut into segments."""
    return harness.with_multiprocessors(multiprocessors)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("shape", [*UNROLLED, *LOOPS], ids=str)
def test_agrees_with_the_reference(shape: Shape, dtype: torch.dtype) -> None:
    check_against_reference(harness.emulated(MULTI_ORDER_CONV, seed=shape.bins), shape, dtype, CPU)


@pytest.mark.parametrize("name", ["sm_86", "sm_90"])
@pytest.mark.parametrize("dtype", HALF_TYPES, ids=str)
@pytest.mark.parametrize("shape", [*UNROLLED, LOOPS[0], STEPS, *BANDS], ids=str)
def test_half_types(shape: Shape, dtype: torch.dtype, name: str) -> None:
    """Depthwise stages run on tensor cores on the second device alone."""
    check_no_worse_than_eager(harness.emulated(MULTI_ORDER_CONV, device=name), shape, dtype, CPU)


@pytest.mark.parametrize("name", ["sm_75", "sm_90"])
@pytest.mark.parametrize("shape", [STEPS, TILES, USUAL], ids=str)
def test_half_types_without_tensor_cores(shape: Shape, name: str, tmp_path: Path) -> None:
    """As before compute capability 8.0, and as code for such a device runs on a later one."""
    folder = copy_sources(tmp_path, torch.float16)
    replace_once(folder / "common" / "mma.cuh", "bool kTensorCores = true;", "bool kTensorCores = false;")
    limits = harness.with_multiprocessors(1, name)
    without = harness.emulated(MULTI_ORDER_CONV, folder=folder, device=limits, flavour="quick")
    check_no_worse_than_eager(without, shape, torch.float16, CPU)


@pytest.mark.parametrize("name", ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"])
def test_plans_of_all_devices(name: str) -> None:
    check_against_reference(harness.emulated(MULTI_ORDER_CONV, device=name), USUAL, torch.float32, CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_one_utterance_at_a_time(dtype: torch.dtype) -> None:
    check_against_reference(harness.emulated(MULTI_ORDER_CONV, device=device(1)), USUAL, dtype, CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["sm_75", "sm_86", "sm_90"])
def test_a_block_has_several_tiles(name: str, dtype: torch.dtype) -> None:
    limits = harness.with_multiprocessors(1, name)
    arguments = MULTI_ORDER_CONV.arguments(MULTI_ORDER_CONV.inputs(TILES, dtype=dtype))
    product, *_ = harness.launches("multi_order_conv", *arguments, device=limits)[0]
    assert "pointwise" in product.kernel
    assert product.grid[0] <= 4
    check_against_reference(harness.emulated(MULTI_ORDER_CONV, device=limits), TILES, dtype, CPU)


@pytest.mark.parametrize(("taps", "dtype"), [(3, torch.float32), (5, torch.float32), (7, torch.bfloat16)], ids=str)
def test_segments_of_time(taps: int, dtype: torch.dtype) -> None:
    """Where frames are cut into segments, results and gradients at their borders are those of the whole."""
    shape = Shape(batch=1, frames=70, bins=7, channels=4, in_channels=2, order=3, kernel=(taps, taps))
    limits = harness.with_multiprocessors(1000, "sm_90" if dtype in HALF_TYPES else "sm_86")
    arguments = MULTI_ORDER_CONV.arguments(MULTI_ORDER_CONV.inputs(shape, dtype=dtype))
    launches, _ = harness.launches("multi_order_conv", *arguments, device=limits)
    (cascade,) = (launch for launch in launches if "cascade_forward" in launch.kernel)
    assert cascade.grid[0] > 2 * shape.channels  # more than one block for each channel of h
    check = check_no_worse_than_eager if dtype in HALF_TYPES else check_against_reference
    check(harness.emulated(MULTI_ORDER_CONV, device=limits), shape, dtype, CPU)


@pytest.mark.parametrize("shape", MULTI_ORDER_CONV.empty, ids=str)
def test_empty(shape: Shape) -> None:
    """As tests/ops has it."""
    contract = test_shapes.test_empty_result if shape.in_channels else test_shapes.test_no_input_channels
    contract(harness.emulated(MULTI_ORDER_CONV), shape, CPU)


@pytest.mark.parametrize("shift", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_any_address(dtype: torch.dtype, shift: int) -> None:
    """Buffers that do not begin where 16 bytes do: the values are those of buffers that do."""
    for a, b in zip(*(all_results(UNROLLED[2], dtype, shift=s) for s in (0, shift)), strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("shape", [USUAL, UNROLLED[2], LOOPS[0]], ids=str)
def test_any_schedule_gives_the_same_bits(shape: Shape) -> None:
    for a, b in zip(*(all_results(shape, torch.float32, seed=seed) for seed in (1, 2)), strict=True):
        assert_same(a, b)


def all_results(shape: Shape, dtype: torch.dtype, **options: int) -> Iterator[Tensor]:
    """Result and gradients."""
    y, found = gradients(harness.emulated(MULTI_ORDER_CONV, **options), MULTI_ORDER_CONV.inputs(shape, dtype=dtype))
    yield from (y, *found.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [UNROLLED[1], LOOPS[0]], ids=str)
def test_a_nan_weight_shows(shape: Shape, dtype: torch.dtype) -> None:
    """In the first frames too, where a depthwise stage's first taps meet nothing but the zeros before them."""
    tensors = MULTI_ORDER_CONV.inputs(shape, dtype=dtype)
    for name, tensor in tensors.items():
        if tensor.ndim == 4 and tensor.shape[-1] > 1 and name != "x":
            tensors[name] = tensor.clone()
            tensors[name][0, 0, 0, 0] = torch.nan
            y = harness.emulated(MULTI_ORDER_CONV, device="sm_90")(tensors)
            assert torch.equal(y.isnan(), MULTI_ORDER_CONV.reference(tensors).isnan())
            tensors[name] = tensor


# Large enough for several chunks, stages, tiles, and rows that are not aligned.
PLANTED = Shape(batch=1, frames=9, bins=21, channels=16, in_channels=5, order=3, kernel=(7, 7))
MUTANTS = (
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "mask",
        "bias outside the plane",
        "multi_order_conv_cascade.cuh",
        "      if (column + c < end) out.at[c] = sum[c];",
        "      out.at[c] = sum[c];",
        PLANTED,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "index",
        "stages written to the wrong ring",
        "multi_order_conv_cascade.cuh",
        "const int target = stage + 1 < p.depth ? stage + 1 : m.stages;",
        "const int target = stage + 1;",
        PLANTED,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "mask",
        "a bin outside the plane",
        "multi_order_conv_band.cuh",
        "second = left > 1 ? second + bias_ : 0.0f;",
        "second += bias_;",
        PLANTED,
        dtype=torch.bfloat16,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "index",
        "a band one bin away",
        "multi_order_conv_band.cuh",
        "tap(i, k + 8 * half - 1 - n), tap(i, k + 8 * half - n)",
        "tap(i, k + 8 * half - n), tap(i, k + 8 * half + 1 - n)",
        PLANTED,
        dtype=torch.bfloat16,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "index",
        "a window's second half twice",
        "multi_order_conv_band.cuh",
        "{low[w], low[w + 1], low[w + 1], low[w + 2]}",
        "{high[w], high[w + 1], high[w + 1], low[w + 2]}",
        PLANTED,
        dtype=torch.bfloat16,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "index",
        "windows of the weight gradient one bin away",
        "multi_order_conv_band.cuh",
        "kSkip = first(K) - K / 2;",
        "kSkip = 0;",
        PLANTED,
        dtype=torch.bfloat16,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "barrier",
        "none before the gates' weight gradient",
        "multi_order_conv_gates_backward.cuh",
        "      __syncthreads();\n      gate_weight_gradient",
        "      gate_weight_gradient",
        PLANTED,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "mask",
        "gradients stored beyond the last point",
        "multi_order_conv_gates_backward.cuh",
        "stores = exists && p.count > 0;",
        "stores = exists;",
        PLANTED,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "index",
        "columns of partial sums in order",
        "reduce.cuh",
        "partial + gradients.at[which].column_of(element);",
        "partial + gradients.at[which].first + element;",
        PLANTED,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "barrier",
        "none before the next tile replaces one",
        "pointwise.cuh",
        "kOfWarp, lane);\n    __syncthreads();\n",
        "kOfWarp, lane);\n",
        PLANTED,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "index",
        "the same tile read again",
        "pointwise.cuh",
        "read(first + kPoints);",
        "read(first);",
        PLANTED,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "mask",
        "points read beyond the last one",
        "tile.cuh",
        "const int rows = p < points ? int(channels < kTile ? channels : kTile) : 0;",
        "const int rows = int(channels < kTile ? channels : kTile);",
        PLANTED,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "barrier",
        "none before the next tile replaces one",
        "pointwise.cuh",
        "          __syncthreads();\n          if (replaces) Product::store(next, tile);",
        "          if (replaces) Product::store(next, tile);",
        TILES,
        multiprocessors=1,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "index",
        "the same tile read again",
        "pointwise.cuh",
        "following = leaves ? t + gridDim.x : t;",
        "following = t;",
        TILES,
        multiprocessors=1,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "index",
        "the first sources read again",
        "pointwise.cuh",
        "read(following, last ? 0 : c0 + kTile);",
        "read(following, 0);",
        TILES,
        multiprocessors=1,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "index",
        "the first weights for all channels",
        "pointwise.cuh",
        "        if (m.kept) w += Product::kWeightsSize;\n",
        "",
        TILES,
        multiprocessors=1,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "mask",
        "points written beyond the last one",
        "pointwise.cuh",
        "value, a.y_plane - p);",
        "value, 4);",
        TILES,
        multiprocessors=1,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "index",
        "a fragment with two words exchanged",
        "pointwise_product.cuh",
        "target / 8 % 2 + j / 4 * 2;",
        "target / 8 % 2 * 2 + j / 4;",
        STEPS,
        dtype=torch.bfloat16,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "index",
        "a pair of the wrong source",
        "pointwise_product.cuh",
        "tile + (8 * s + 4) * kPitch",
        "tile + (8 * s + 3) * kPitch",
        STEPS,
        dtype=torch.bfloat16,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "index",
        "points of a result in the order of the columns",
        "pointwise_product.cuh",
        "warp_point() + 4 * member() + 16 * (i % 2)",
        "warp_point() + 8 * member() + 4 * (i % 2)",
        STEPS,
        dtype=torch.bfloat16,
    ),
)
