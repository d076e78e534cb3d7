"""Broken copies of the kernels: each has one barrier, index or mask spoilt, and the tests of its operator notice.

It shows that the cases of an operator would see such a mistake. A mutant is built for float32 alone, and run in a
process of its own, since it may do anything.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ..ops.operators import CAUSAL_DWCONV2D, MULTI_ORDER_CONV, Operator, Shape, check_against_reference
from . import build, harness
from .calls import OPERATORS

pytestmark = harness.needs()

SEEDS = range(4)

# Where launchers choose the kernels of a dtype; with only one left, building takes a quarter of the time.
DTYPES_FILE = "launch.cuh"
ALL_DTYPES = "    case DType::f64: return f.template operator()<double>();\n"
OTHER_DTYPES = (
    ALL_DTYPES,
    "    case DType::f16: return f.template operator()<__half>();\n",
)
LAST_DTYPE = "return f.template operator()<__nv_bfloat16>();"


@dataclass(frozen=True)
class Mutant:
    """A replacement for a piece of text that occurs once in a file of csrc/cuda."""

    operator: Operator
    shape: Shape
    what: str
    file: str
    original: str
    replacement: str

    def __str__(self) -> str:
        return f"{self.operator}-{self.what}".replace(" ", "-")


DWCONV = Shape(batch=1, frames=30, bins=257, channels=2, kernel=(7, 7))  # three chunks
MULTI_ORDER = Shape(batch=1, frames=9, bins=21, channels=16, in_channels=5, order=3, kernel=(7, 7))
MUTANTS = (
    Mutant(
        CAUSAL_DWCONV2D,
        DWCONV,
        "no barrier after loading",
        "causal_dwconv2d.cuh",
        "t + offset + kHistory, m.rows, [&](int i) { return slot(kHistory + i); });\n    __syncthreads();\n",
        "t + offset + kHistory, m.rows, [&](int i) { return slot(kHistory + i); });\n",
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        DWCONV,
        "no barrier before the next chunk",
        "causal_dwconv2d.cuh",
        "    }\n    __syncthreads();\n    base = slot(m.rows);\n",
        "    }\n    base = slot(m.rows);\n",
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        DWCONV,
        "taps reversed",
        "depthwise.cuh",
        "w[(i - r) * K + j] * x[c + j]",
        "w[(i - r) * K + j] * x[c + K - 1 - j]",
    ),
    Mutant(
        CAUSAL_DWCONV2D,
        DWCONV,
        "frames before the first not zero",
        "causal_dwconv2d.cuh",
        "const int before = int(first < 0 ? (first + count < 0 ? count : -first) : 0);",
        "const int before = 0;",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        MULTI_ORDER,
        "no barrier between the rows",
        "multi_order_conv_cascade.cuh",
        "      u += m.bins;\n    }\n    __syncthreads();\n",
        "      u += m.bins;\n    }\n",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        MULTI_ORDER,
        "bias outside the plane",
        "multi_order_conv_cascade.cuh",
        "        if (mask >> c & 1) shared[out.at + c] = sum[c];",
        "        shared[out.at + c] = sum[c];",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        MULTI_ORDER,
        "wrong gate",
        "multi_order_conv_gates.cuh",
        "(a.factor(k + 1) + first)",
        "(a.factor(k) + first)",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        MULTI_ORDER,
        "no barrier before the gates' weight gradient",
        "multi_order_conv_gates_backward.cuh",
        "      __syncthreads();\n      gate_weight_gradient",
        "      gate_weight_gradient",
    ),
    Mutant(
        MULTI_ORDER_CONV,
        MULTI_ORDER,
        "gradients after the last frame not zero",
        "multi_order_conv_gradient.cuh",
        "      if (gu_next < left)\n        load_gu",
        "      if (true)\n        load_gu",
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


def check(operator: Operator, shape: Shape, folder: Path) -> None:
    """Result and gradients, in several schedules; raises whatever shows that something is wrong."""
    for seed in SEEDS:
        emulated = harness.emulated(operator, folder=folder, seed=seed, isolated=True)
        check_against_reference(emulated, shape, torch.float32, "cpu")


@pytest.mark.parametrize("mutant", [pytest.param(m, marks=harness.needs(m.operator.name), id=str(m)) for m in MUTANTS])
def test_mutants_are_caught(mutant: Mutant, tmp_path: Path) -> None:
    cuda = copy_sources(tmp_path)
    replace_once(cuda / mutant.file, mutant.original, mutant.replacement)
    with pytest.raises((AssertionError, harness.EmulationError)):
        check(mutant.operator, mutant.shape, cuda)


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        pytest.param(m.operator, m.shape, marks=harness.needs(m.operator.name), id=f"{m.operator}-{m.shape}")
        for m in {(m.operator, m.shape): m for m in MUTANTS}.values()
    ],
)
def test_unbroken_copies_pass(operator: Operator, shape: Shape, tmp_path: Path) -> None:
    check(operator, shape, copy_sources(tmp_path))


def test_every_operator_has_mutants() -> None:
    """A barrier, an index and a mask at least."""
    for name in OPERATORS:
        if build.operator_sources(name):
            assert sum(m.operator.name == name for m in MUTANTS) >= 3
