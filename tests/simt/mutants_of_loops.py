"""More faults to plant: in the kernels that take any size, by loops over global memory."""

from __future__ import annotations

from ..ops.operators import CAUSAL_DWCONV2D, CONV_BLOCK, Shape
from .mutants import faults_in

# What no kernel holds in registers: a kernel that is not square, more channels than a tile has rows.
DWCONV_LOOPS = Shape(batch=2, frames=9, bins=13, channels=3, kernel=(5, 3))
CONV_LOOPS = Shape(batch=2, frames=7, bins=9, channels=70, in_channels=3)

MUTANTS_OF_LOOPS = (
    *faults_in(
        CAUSAL_DWCONV2D,
        "forward",
        "causal_dwconv2d.cuh",
        (
            "index",
            "loops over flipped taps",
            "w[reversed ? a.taps_t * a.taps_f - 1 - tap : tap]",
            "w[a.taps_t * a.taps_f - 1 - tap]",
        ),
        (
            "mask",
            "loops without padding columns",
            "if (column < 0 || column >= a.bins) continue;",
            "if (column < 0) continue;",
        ),
        shape=DWCONV_LOOPS,
    ),
    *faults_in(
        CAUSAL_DWCONV2D,
        "backward",
        "causal_dwconv2d.cuh",
        (
            "barrier",
            "loops that add up sums not yet there",
            "/ kWarp] = sum;\n  __syncthreads();\n  if (threadIdx.x > 0) return;\n  for (int warp = 1;",
            "/ kWarp] = sum;\n  if (threadIdx.x > 0) return;\n  for (int warp = 1;",
        ),
        (
            "index",
            "loops with a tap's column for its row",
            "a.taps_t - 1 - tap / a.taps_f;",
            "a.taps_t - 1 - tap % a.taps_f;",
        ),
        shape=DWCONV_LOOPS,
    ),
    *faults_in(
        CONV_BLOCK,
        "forward",
        "conv_block_loops.cuh",
        (
            "index",
            "taps always flipped",
            "reversed ? kConvTaps - 1 - (3 * i + j) : 3 * i + j",
            "kConvTaps - 1 - (3 * i + j)",
        ),
        ("mask", "no padding columns", "|| f + j < 1 || f + j > a.bins) continue;", "|| f + j < 1) continue;"),
        shape=CONV_LOOPS,
    ),
    *faults_in(
        CONV_BLOCK,
        "backward",
        "conv_block_loops.cuh",
        ("index", "split gives s twice", "  v[index] *= d;", "  v[index] = s[index] * d;"),
        (
            "barrier",
            "sums of taps not yet there",
            "  __syncthreads();\n  if (threadIdx.x > kConvTaps) return;\n",
            "  if (threadIdx.x > kConvTaps) return;\n",
        ),
        ("mask", "frames before the first", "if (t + j >= kConvLookBack && f + k >= 1", "if (f + k >= 1"),
        shape=CONV_LOOPS,
    ),
)
