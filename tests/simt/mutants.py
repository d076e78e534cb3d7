"""Faults to plant in the CUDA kernels of csrc/cuda: a barrier taken out, an index or a mask spoilt.

Many more were tried, and all were noticed. Those that are here show least: in the fewest schedules, or with the
smallest error. Each operator has all three kinds, and each pass of its kernels, for usual and for any sizes, has one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ops.operators import CAUSAL_DWCONV2D, CONV_BLOCK, MASK_RESIDUAL, MULTI_ORDER_CONV, Operator, Shape
from .test_sanitizers import InOrder

IN_ORDER = InOrder()

# What only the kernels for any size take: a kernel that is not square, more channels than a tile has rows.
DWCONV_LOOPS = Shape(batch=2, frames=9, bins=13, channels=3, kernel=(5, 3))
CONV_LOOPS = Shape(batch=2, frames=7, bins=9, channels=70, in_channels=3)


@dataclass(frozen=True)
class Mutant:
    """A replacement for a piece of text that occurs once in a file of csrc/cuda; `part` is the pass that it spoils.

    `shape`: one that the spoilt kernel runs for, where it does not for the operator's usual one.
    """

    operator: Operator
    part: str
    kind: str
    what: str
    file: str
    original: str
    replacement: str
    shape: Shape | None = None

    def __str__(self) -> str:
        return f"{self.operator}-{self.part}-{self.kind}-{self.what}".replace(" ", "-")


MUTANTS = (
    Mutant(
        CAUSAL_DWCONV2D,
        "forward",
        "mask",
        "frames before the first not zero",
        "causal_dwconv2d.cuh",
        "const int before = int(first < 0 ? (first + count < 0 ? count : -first) : 0);",
        "const int before = 0;",
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        "forward",
        "index",
        "loops over flipped taps",
        "causal_dwconv2d.cuh",
        "w[reversed ? a.taps_t * a.taps_f - 1 - tap : tap]",
        "w[a.taps_t * a.taps_f - 1 - tap]",
        DWCONV_LOOPS,
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        "backward",
        "barrier",
        "none before adding up the warps",
        "causal_dwconv2d.cuh",
        "    if (threadIdx.x % kWarp == 0) own[k] = sum;\n  }\n  __syncthreads();\n",
        "    if (threadIdx.x % kWarp == 0) own[k] = sum;\n  }\n",
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        "backward",
        "index",
        "taps of the weight gradient reversed",
        "depthwise.cuh",
        "dw[(i - r) * K + j] += g[r][c] * x[c + j]",
        "dw[(i - r) * K + j] += g[r][c] * x[c + K - 1 - j]",
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        "backward",
        "barrier",
        "loops that add up sums not yet there",
        "causal_dwconv2d.cuh",
        "/ kWarp] = sum;\n  __syncthreads();\n  if (threadIdx.x > 0) return;\n  for (int warp = 1;",
        "/ kWarp] = sum;\n  if (threadIdx.x > 0) return;\n  for (int warp = 1;",
        DWCONV_LOOPS,
    ),
    Mutant(
        CONV_BLOCK,
        "forward",
        "mask",
        "bias outside the plane",
        "conv_block_forward.cuh",
        "columns >> j & 1 ? h[i][j] + b.at[i] : C(0)",
        "h[i][j] + b.at[i]",
    ),
    Mutant(
        CONV_BLOCK,
        "forward",
        "index",
        "taps always flipped",
        "conv_block_loops.cuh",
        "reversed ? kConvTaps - 1 - (3 * i + j) : 3 * i + j",
        "kConvTaps - 1 - (3 * i + j)",
        CONV_LOOPS,
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "barrier",
        "none before warps add their sums",
        "conv_block_backward.cuh",
        "totals[totals_slot(i)] = 0;\n  __syncthreads();\n",
        "totals[totals_slot(i)] = 0;\n",
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "index",
        "rows of the gradient reversed",
        "conv_block_backward.cuh",
        "convolve_row({from + ring.at(warp), from + ring.at(warp + 1), from + ring.at(warp + 2)},",
        "convolve_row({from + ring.at(warp + 2), from + ring.at(warp + 1), from + ring.at(warp)},",
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "mask",
        "frames before the first",
        "conv_block_loops.cuh",
        "if (t + j >= kConvLookBack && f + k >= 1",
        "if (f + k >= 1",
        CONV_LOOPS,
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "mask",
        "bias outside the plane",
        "multi_order_conv_cascade.cuh",
        "        if (column + c < p.plane_end) out.at[c] = sum[c];",
        "        out.at[c] = sum[c];",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "index",
        "stages written to the wrong ring",
        "multi_order_conv_cascade.cuh",
        "const int target = stage + 1 < p.depth ? stage + 1 : m.stages;",
        "const int target = stage + 1;",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "barrier",
        "none before the gates' weight gradient",
        "multi_order_conv_gates_backward.cuh",
        "      __syncthreads();\n      gate_weight_gradient",
        "      gate_weight_gradient",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "mask",
        "gradients stored beyond the last point",
        "multi_order_conv_gates_backward.cuh",
        "stores = exists && p.count > 0;",
        "stores = exists;",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "index",
        "columns of partial sums in order",
        "reduce.cuh",
        "partial + gradients.at[which].column_of(element);",
        "partial + gradients.at[which].first + element;",
    ),
    Mutant(
        MASK_RESIDUAL,
        "forward",
        "index",
        "every frame of a pack put into the first",
        "mask_residual.cuh",
        "if (v < count) tile.put(t + v, f, {",
        "if (v < count) tile.put(t, f, {",
    ),
    Mutant(
        IN_ORDER,
        "forward",
        "mask",
        "parts stored beyond a row",
        "mask_residual.cuh",
        "half[h], 2 * at.begin - h * W, 2 * at.end - h * W);\n  }\n  __device__ __forceinline__ ComplexOf",
        "half[h], 0, W);\n  }\n  __device__ __forceinline__ ComplexOf",
    ),
    Mutant(
        MASK_RESIDUAL,
        "backward",
        "barrier",
        "none before storing",
        "mask_residual.cuh",
        "  __syncthreads();\n  store_tile(",
        "  store_tile(",
    ),
)
