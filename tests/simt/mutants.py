"""Faults to plant in csrc/cuda, one at a time: a barrier, an index or a mask spoilt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..ops.operators import CAUSAL_DWCONV2D, CONV_BLOCK, MASK_RESIDUAL, MULTI_ORDER_CONV, Operator, Shape
from .test_sanitizers import InOrder

IN_ORDER = InOrder()


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


Fault = tuple[str, str, str, str]


def faults_in(operator: Operator, part: str, file: str, *faults: Fault, shape: Shape | None = None) -> Iterator[Mutant]:
    """Mutants from kind, name, original and replacement."""
    for kind, what, original, replacement in faults:
        yield Mutant(operator, part, kind, what, file, original, replacement, shape)


MUTANTS = (
    *faults_in(
        CAUSAL_DWCONV2D,
        "forward",
        "causal_dwconv2d.cuh",
        (
            "barrier",
            "none after loading",
            "t + offset + kHistory, m.rows, [&](int i) { return slot(kHistory + i); });\n    __syncthreads();\n",
            "t + offset + kHistory, m.rows, [&](int i) { return slot(kHistory + i); });\n",
        ),
        (
            "barrier",
            "none before the next chunk",
            "    }\n    __syncthreads();\n    const int64_t left = at.end - t;\n",
            "    }\n    const int64_t left = at.end - t;\n",
        ),
        (
            "mask",
            "frames before the first not zero",
            "const int before = int(first < 0 ? (first + count < 0 ? count : -first) : 0);",
            "const int before = 0;",
        ),
    ),
    *faults_in(
        CAUSAL_DWCONV2D,
        "forward",
        "depthwise.cuh",
        ("index", "taps reversed", "w[(i - r) * K + j] * x[c + j]", "w[(i - r) * K + j] * x[c + K - 1 - j]"),
    ),
    *faults_in(
        CAUSAL_DWCONV2D,
        "backward",
        "causal_dwconv2d.cuh",
        (
            "barrier",
            "none before the ring is overwritten",
            "    }\n    __syncthreads();\n    base = slot(m.rows);\n",
            "    }\n    base = slot(m.rows);\n",
        ),
        (
            "barrier",
            "none before adding up the warps",
            "    if (threadIdx.x % kWarp == 0) own[k] = sum;\n  }\n  __syncthreads();\n",
            "    if (threadIdx.x % kWarp == 0) own[k] = sum;\n  }\n",
        ),
        (
            "mask",
            "frames after the last not zero",
            "const int inside = int(left < count ? (left < before ? before : left) : count);",
            "const int inside = count;",
        ),
    ),
    *faults_in(
        CAUSAL_DWCONV2D,
        "backward",
        "depthwise.cuh",
        (
            "index",
            "taps of the weight gradient reversed",
            "dw[(i - r) * K + j] += g[r][c] * x[c + j]",
            "dw[(i - r) * K + j] += g[r][c] * x[c + K - 1 - j]",
        ),
    ),
    *faults_in(
        CONV_BLOCK,
        "forward",
        "conv_block_forward.cuh",
        (
            "barrier",
            "none before reading the ring",
            "    __syncthreads();\n    if (own && channel < m.channels) {\n",
            "    if (own && channel < m.channels) {\n",
        ),
        ("mask", "bias outside the plane", "columns >> j & 1 ? h[i][j] + b.at[i] : C(0)", "h[i][j] + b.at[i]"),
    ),
    *faults_in(
        CONV_BLOCK,
        "forward",
        "conv_block_tile.cuh",
        (
            "index",
            "columns of the depthwise convolution reversed",
            "sum.at[j] += tap[3 * i + k] * x[i][j + k];",
            "sum.at[j] += tap[3 * i + k] * x[i][j + 2 - k];",
        ),
    ),
    *faults_in(
        CONV_BLOCK,
        "backward",
        "conv_block_backward.cuh",
        (
            "barrier",
            "none before reading the ring of gradients",
            "plane, m.sources, p.own);\n    __syncthreads();\n",
            "plane, m.sources, p.own);\n",
        ),
        (
            "index",
            "columns of the weight gradient reversed",
            "tap[3 * i + k] += d.at[j] * x[i][j + k];",
            "tap[3 * i + k] += d.at[j] * x[i][j + 2 - k];",
        ),
        (
            "mask",
            "gradients of the neighbouring strips counted",
            "if (column == 0 || column > kConvOwn || p.bin + column >= m.bins) sum.at[j] = 0;",
            "if (p.bin + column >= m.bins) sum.at[j] = 0;",
        ),
        (
            "barrier",
            "none before h is read",
            "                 m.channels, lane);\n    }\n    __syncthreads();\n    if (own) {",
            "                 m.channels, lane);\n    }\n    if (own) {",
        ),
        (
            "barrier",
            "none before warps add their sums",
            "totals[totals_slot(i)] = 0;\n  __syncthreads();\n",
            "totals[totals_slot(i)] = 0;\n",
        ),
        (
            "index",
            "rows of the gradient reversed",
            "convolve_row({from + ring.at(warp), from + ring.at(warp + 1), from + ring.at(warp + 2)},",
            "convolve_row({from + ring.at(warp + 2), from + ring.at(warp + 1), from + ring.at(warp)},",
        ),
        (
            "mask",
            "bias before the first frame",
            "shared + at.b_in(), frame >= 0 ? columns : 0,",
            "shared + at.b_in(), columns,",
        ),
    ),
    *faults_in(
        MULTI_ORDER_CONV,
        "forward",
        "multi_order_conv_cascade.cuh",
        (
            "barrier",
            "none between the cascade's rows",
            "      u += m.bins;\n    }\n    __syncthreads();\n",
            "      u += m.bins;\n    }\n",
        ),
        (
            "mask",
            "bias outside the plane",
            "        if (column + c < p.plane_end) out.at[c] = sum[c];",
            "        out.at[c] = sum[c];",
        ),
        (
            "index",
            "stages written to the wrong ring",
            "const int target = stage + 1 < p.depth ? stage + 1 : m.stages;",
            "const int target = stage + 1;",
        ),
    ),
    *faults_in(
        MULTI_ORDER_CONV,
        "forward",
        "multi_order_conv_gates.cuh",
        (
            "barrier",
            "none before a product",
            "    __syncthreads();\n    accumulate_product(",
            "    accumulate_product(",
        ),
        ("index", "wrong gate", "(a.factor(k + 1) + first)", "(a.factor(k) + first)"),
        (
            "mask",
            "points beyond the last stored",
            "a.y + utterance * a.points + p.point, out, p.count)",
            "a.y + utterance * a.points + p.point, out, J)",
        ),
    ),
    *faults_in(
        MULTI_ORDER_CONV,
        "forward",
        "pointwise.cuh",
        (
            "barrier",
            "none before a 1x1's product",
            "a.targets - o0, sources);\n      __syncthreads();\n",
            "a.targets - o0, sources);\n",
        ),
        (
            "index",
            "targets of a 1x1 in another order",
            "const int64_t o = o0 + lane.row + 4 * i;",
            "const int64_t o = o0 + 8 * lane.row + i;",
        ),
    ),
    *faults_in(
        MULTI_ORDER_CONV,
        "backward",
        "multi_order_conv_gates_backward.cuh",
        (
            "barrier",
            "none before the gates' weight gradient",
            "      __syncthreads();\n      gate_weight_gradient",
            "      gate_weight_gradient",
        ),
        (
            "index",
            "gradient of the wrong output weight",
            "const int channel = first + p.lane.row + 4 * which;",
            "const int channel = first + p.lane.row + which;",
        ),
        ("mask", "gradients stored beyond the last point", "stores = exists && p.count > 0;", "stores = exists;"),
    ),
    *faults_in(
        MULTI_ORDER_CONV,
        "backward",
        "multi_order_conv_gradient.cuh",
        (
            "barrier",
            "none between the rows of the cascade's gradient",
            "#else\n  __barrier_sync_count(1, blockDim.x);\n#endif\n",
            "#endif\n",
        ),
        ("mask", "gradients after the last frame not zero", "        load_gu.clear();", "        ;"),
    ),
    *faults_in(
        MULTI_ORDER_CONV,
        "backward",
        "multi_order_conv_stencil.cuh",
        (
            "index",
            "taps of the weight gradient reversed",
            "r.tap[i * K + j] += r.row[i][c] * xs[c + j]",
            "r.tap[i * K + j] += r.row[i][c] * xs[c + K - 1 - j]",
        ),
    ),
    *faults_in(
        MULTI_ORDER_CONV,
        "backward",
        "pointwise.cuh",
        ("mask", "channels of a 1x1 that do not exist", "      if (o >= a.targets) continue;\n", ""),
        (
            "barrier",
            "none before the outer product of a 1x1",
            "    __syncthreads();\n    accumulate_outer<true>(",
            "    accumulate_outer<true>(",
        ),
        (
            "index",
            "weight gradient of a 1x1 transposed",
            "dw[(o0 + o) * a.sources + c0 + c] = value;",
            "dw[(c0 + c) * a.targets + o0 + o] = value;",
        ),
        ("mask", "sources of a 1x1 that do not exist", "if (c < kTile && c0 + c < a.sources) dw", "if (c < kTile) dw"),
    ),
    *faults_in(
        MULTI_ORDER_CONV,
        "backward",
        "reduce.cuh",
        (
            "barrier",
            "none before adding up partial sums",
            "  sums[stripe][column_in_block] = sum;\n  __syncthreads();\n",
            "  sums[stripe][column_in_block] = sum;\n",
        ),
        (
            "index",
            "columns of partial sums in order",
            "partial + gradients.at[which].column_of(element);",
            "partial + gradients.at[which].first + element;",
        ),
        (
            "mask",
            "columns that do not exist added up",
            "const bool exists = element < gradients.at[which].size;",
            "const bool exists = true;",
        ),
    ),
    *faults_in(
        MASK_RESIDUAL,
        "forward",
        "mask_residual.cuh",
        (
            "barrier",
            "none after loading",
            "  if constexpr (Backward) load_tile(d, a.d, at, bins);\n  __syncthreads();\n",
            "  if constexpr (Backward) load_tile(d, a.d, at, bins);\n",
        ),
        (
            "index",
            "every frame of a pack put into the first",
            "if (v < count) tile.put(t + v, f, {",
            "if (v < count) tile.put(t, f, {",
        ),
        (
            "mask",
            "points that do not exist put",
            "if (exists(k)) x.put(t, int(slot.first) + k, value);",
            "x.put(t, int(slot.first) + k, value);",
        ),
    ),
    *faults_in(
        MASK_RESIDUAL,
        "backward",
        "mask_residual.cuh",
        ("barrier", "none before storing", "  __syncthreads();\n  store_tile(", "  store_tile("),
        (
            "index",
            "the gradient's tile over the spectrogram's",
            "d{x.real + 2 * kFrames * m.pitch, m.slot_pitch, m.pitch}",
            "d{x.real + kFrames * m.pitch, m.slot_pitch, m.pitch}",
        ),
        (
            "mask",
            "gradients stored beyond a row",
            "(a.dhead[i] + row + at.first, dhead[i], at.begin, at.end)",
            "(a.dhead[i] + row + at.first, dhead[i], 0, W)",
        ),
    ),
    *faults_in(
        IN_ORDER,
        "forward",
        "mask_residual.cuh",
        (
            "index",
            "halves of a slot exchanged",
            "load_some<W>(row + 2 * at.first + h * W,",
            "load_some<W>(row + 2 * at.first + (1 - h) * W,",
        ),
        (
            "mask",
            "parts stored beyond a row",
            "half[h], 2 * at.begin - h * W, 2 * at.end - h * W);\n  }\n  __device__ __forceinline__ ComplexOf",
            "half[h], 0, W);\n  }\n  __device__ __forceinline__ ComplexOf",
        ),
    ),
)
