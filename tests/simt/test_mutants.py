"""Broken copies of the kernels: each has one barrier, index or mask spoilt, and the checks of its operator notice.

It shows that a test of an operator would see such a mistake. A mutant is built for float32 alone, and run in a process
of its own, since it may do anything.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ..compare import assert_agrees
from ..ops.operators import (
    BACKWARD_TOLERANCE,
    CAUSAL_DWCONV2D,
    CONV_BLOCK,
    FORWARD_TOLERANCE,
    MASK_RESIDUAL,
    MULTI_ORDER_CONV,
    Operator,
    Shape,
    cotangent,
    double,
    gradients,
)
from . import build, harness
from .calls import OPERATORS

pytestmark = harness.needs()

SEEDS = range(4)
PASSES = ("forward", "backward")
KINDS = ("barrier", "index", "mask")

# Where launchers choose the kernels of a dtype; with only one left, building takes a quarter of the time.
DTYPES_FILE = "launch.cuh"
OTHER_DTYPES = (
    "    case DType::f64: return f.template operator()<double>();\n",
    "    case DType::f16: return f.template operator()<__half>();\n",
)
LAST_DTYPE = "return f.template operator()<__nv_bfloat16>();"


@dataclass(frozen=True)
class Mutant:
    """A replacement for a piece of text that occurs once in a file of csrc/cuda; `part` is the pass that it spoils."""

    operator: Operator
    part: str
    kind: str
    what: str
    file: str
    original: str
    replacement: str

    def __str__(self) -> str:
        return f"{self.operator}-{self.part}-{self.kind}-{self.what}".replace(" ", "-")


# Large enough for several chunks, stages, tiles, and rows that are not aligned.
SHAPES = {
    CAUSAL_DWCONV2D: Shape(batch=1, frames=30, bins=257, channels=2, kernel=(7, 7)),
    CONV_BLOCK: Shape(batch=1, frames=20, bins=35, channels=8, in_channels=5),
    MULTI_ORDER_CONV: Shape(batch=1, frames=9, bins=21, channels=16, in_channels=5, order=3, kernel=(7, 7)),
    MASK_RESIDUAL: Shape(batch=1, frames=20, bins=37),
}

MASK_LOADED = "  if constexpr (Backward) load_tile(d, a.d, at, bins);\n"

MUTANTS = (
    Mutant(
        CAUSAL_DWCONV2D,
        "forward",
        "barrier",
        "none after loading",
        "causal_dwconv2d.cuh",
        "t + offset + kHistory, m.rows, [&](int i) { return slot(kHistory + i); });\n    __syncthreads();\n",
        "t + offset + kHistory, m.rows, [&](int i) { return slot(kHistory + i); });\n",
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        "forward",
        "barrier",
        "none before the next chunk",
        "causal_dwconv2d.cuh",
        "    }\n    __syncthreads();\n    const int64_t left = at.end - t;\n",
        "    }\n    const int64_t left = at.end - t;\n",
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        "forward",
        "index",
        "taps reversed",
        "depthwise.cuh",
        "w[(i - r) * K + j] * x[c + j]",
        "w[(i - r) * K + j] * x[c + K - 1 - j]",
    ),
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
        "backward",
        "barrier",
        "none before the ring is overwritten",
        "causal_dwconv2d.cuh",
        "    }\n    __syncthreads();\n    base = slot(m.rows);\n",
        "    }\n    base = slot(m.rows);\n",
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
        "mask",
        "frames after the last not zero",
        "causal_dwconv2d.cuh",
        "const int inside = int(left < count ? (left < before ? before : left) : count);",
        "const int inside = count;",
    ),
    Mutant(
        CONV_BLOCK,
        "forward",
        "barrier",
        "none before reading the ring",
        "conv_block_forward.cuh",
        "    __syncthreads();\n    if (own && channel < m.channels) {\n",
        "    if (own && channel < m.channels) {\n",
    ),
    Mutant(
        CONV_BLOCK,
        "forward",
        "index",
        "columns of the depthwise convolution reversed",
        "conv_block_tile.cuh",
        "sum.at[j] += tap[3 * i + k] * x[i][j + k];",
        "sum.at[j] += tap[3 * i + k] * x[i][j + 2 - k];",
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
        "backward",
        "barrier",
        "none before reading the ring of gradients",
        "conv_block_backward.cuh",
        "plane, m.sources, p.own);\n    __syncthreads();\n",
        "plane, m.sources, p.own);\n",
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "index",
        "columns of the weight gradient reversed",
        "conv_block_backward.cuh",
        "tap[3 * i + k] += d.at[j] * x[i][j + k];",
        "tap[3 * i + k] += d.at[j] * x[i][j + 2 - k];",
    ),
    Mutant(
        CONV_BLOCK,
        "backward",
        "mask",
        "gradients of the neighbouring strips counted",
        "conv_block_backward.cuh",
        "if (column == 0 || column > kConvOwn || p.bin + column >= m.bins) sum.at[j] = 0;",
        "if (p.bin + column >= m.bins) sum.at[j] = 0;",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "barrier",
        "none between the cascade's rows",
        "multi_order_conv_cascade.cuh",
        "      u += m.bins;\n    }\n    __syncthreads();\n",
        "      u += m.bins;\n    }\n",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "barrier",
        "none before a product",
        "multi_order_conv_gates.cuh",
        "    __syncthreads();\n    accumulate_product(",
        "    accumulate_product(",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "forward",
        "index",
        "wrong gate",
        "multi_order_conv_gates.cuh",
        "(a.factor(k + 1) + first)",
        "(a.factor(k) + first)",
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
        "backward",
        "barrier",
        "none between the rows of the cascade's gradient",
        "multi_order_conv_gradient.cuh",
        "void end_step() { __syncthreads(); }",
        "void end_step() {}",
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
        "index",
        "taps of the weight gradient reversed",
        "multi_order_conv_stencil.cuh",
        "r.tap[i * K + j] += r.row[i][c] * xs[c + j]",
        "r.tap[i * K + j] += r.row[i][c] * xs[c + K - 1 - j]",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        "backward",
        "mask",
        "gradients after the last frame not zero",
        "multi_order_conv_gradient.cuh",
        "        load_gu.clear();",
        "        ;",
    ),
    Mutant(
        MASK_RESIDUAL,
        "forward",
        "barrier",
        "none after loading",
        "mask_residual.cuh",
        MASK_LOADED + "  __syncthreads();\n",
        MASK_LOADED,
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
        MASK_RESIDUAL,
        "forward",
        "mask",
        "points that do not exist put",
        "mask_residual.cuh",
        "if (k >= slot.begin && k < slot.end) x.put(t, bin(k), value);",
        "x.put(t, bin(k), value);",
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
    Mutant(
        MASK_RESIDUAL,
        "backward",
        "index",
        "the gradient's tile over the spectrogram's",
        "mask_residual.cuh",
        "d{x.real + 2 * kFrames * m.pitch, m.slot_pitch, m.pitch}",
        "d{x.real + kFrames * m.pitch, m.slot_pitch, m.pitch}",
    ),
    Mutant(
        MASK_RESIDUAL,
        "backward",
        "mask",
        "gradients stored beyond a row",
        "mask_residual.cuh",
        "(a.dhead[i] + row + at.first, dhead[i], at.begin, at.end)",
        "(a.dhead[i] + row + at.first, dhead[i], 0, W)",
    ),
)


def replace_once(file: Path, original: str, replacement: str) -> None:
    text = file.read_text()
    assert text.count(original) == 1, f"{file.name} has changed: this is not in it once, adapt the mutant:\n{original}"
    file.write_text(text.replace(original, replacement))


def copy_sources(folder: Path) -> Path:
    """A copy of csrc/cuda, with what it includes from csrc/kernels, that is built for float32 alone."""
    shutil.copytree(build.CUDA_SOURCES, folder / "csrc" / "cuda")
    (folder / "csrc" / "kernels").mkdir()
    shutil.copy(build.CUDA_SOURCES.parent / "kernels" / "api.h", folder / "csrc" / "kernels")
    cuda = folder / "csrc" / "cuda"
    for case in OTHER_DTYPES:
        replace_once(cuda / DTYPES_FILE, case, "")
    replace_once(cuda / DTYPES_FILE, LAST_DTYPE, LAST_DTYPE.replace("__nv_bfloat16", "float"))
    return cuda


def check(operator: Operator, part: str, folder: Path) -> None:
    """One pass against the reference in several schedules; raises whatever shows that something is wrong."""
    shape, dtype = SHAPES[operator], torch.float32
    tensors = operator.inputs(shape, dtype=dtype)
    arguments, dy = operator.arguments(tensors), cotangent(torch.empty(operator.result_size(shape), dtype=dtype))
    exact, expected = gradients(operator.reference, double(tensors), dy)
    for seed in SEEDS:
        if part == "forward":
            y = harness.run(operator.name, *arguments, folder=folder, seed=seed, flavour="quick")
            assert_agrees(y, exact, FORWARD_TOLERANCE[dtype], "result")
        else:
            found = harness.run(f"{operator.name}_backward", dy, *arguments, folder=folder, seed=seed, flavour="quick")
            for name, gradient in zip(expected, harness.flat(found), strict=True):
                assert_agrees(gradient, expected[name], BACKWARD_TOLERANCE[dtype], f"gradient of {name}")


@pytest.mark.parametrize("mutant", [pytest.param(m, marks=harness.needs(m.operator.name), id=str(m)) for m in MUTANTS])
def test_mutants_are_caught(mutant: Mutant, tmp_path: Path) -> None:
    cuda = copy_sources(tmp_path)
    replace_once(cuda / mutant.file, mutant.original, mutant.replacement)
    with pytest.raises((AssertionError, harness.EmulationError)):
        check(mutant.operator, mutant.part, cuda)


@pytest.mark.parametrize("part", PASSES)
@pytest.mark.parametrize("operator", [pytest.param(o, marks=harness.needs(o.name), id=str(o)) for o in SHAPES])
def test_unbroken_copies_pass(operator: Operator, part: str, tmp_path: Path) -> None:
    check(operator, part, copy_sources(tmp_path))


def test_every_operator_has_mutants() -> None:
    """A barrier, an index and a mask of either pass."""
    planted = {(m.operator.name, m.part, m.kind) for m in MUTANTS}
    names = [name for name in OPERATORS if build.operator_sources(name)]
    assert planted >= {(name, part, kind) for name in names for part in PASSES for kind in KINDS}
