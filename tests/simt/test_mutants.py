"""Broken copies of the kernels: each has one barrier, index or mask spoilt, and the checks of its operator notice.

It shows that a test of an operator would see such a mistake. A mutant is built for float32 alone, and run in a process
of its own, since it may do anything.
"""

from __future__ import annotations

import shutil
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
from .mutants import IN_ORDER, MUTANTS, Mutant

pytestmark = harness.needs()

SEEDS = range(4)
PASSES = ("forward", "backward")
KINDS = ("barrier", "index", "mask")

WITH_OWN_MUTANTS = ("lstm", "gru", "norm_prelu")  # in their own tests

# Where launchers choose the kernels of a dtype; with only one left, building takes a quarter of the time.
DTYPES_FILE = "common/launch.cuh"
OTHER_DTYPES = (
    "    case DType::f64: return f.template operator()<double>();\n",
    "    case DType::f16: return f.template operator()<__half>();\n",
)
LAST_DTYPE = "return f.template operator()<__nv_bfloat16>();"

# Large enough for several chunks, stages, tiles, and rows that are not aligned.
SHAPES = {
    CAUSAL_DWCONV2D: Shape(batch=1, frames=30, bins=257, channels=2, kernel=(7, 7)),
    CONV_BLOCK: Shape(batch=1, frames=20, bins=35, channels=8, in_channels=5),
    MULTI_ORDER_CONV: Shape(batch=1, frames=9, bins=21, channels=16, in_channels=5, order=3, kernel=(7, 7)),
    MASK_RESIDUAL: Shape(batch=1, frames=20, bins=37),
    IN_ORDER: Shape(batch=2, frames=7, bins=19),
}


def replace_once(file: Path, original: str, replacement: str) -> None:
    text = file.read_text()
    assert text.count(original) == 1, f"{file.name} has changed: this is not in it once, adapt the mutant:\n{original}"
    file.write_text(text.replace(original, replacement))


def copy_sources(folder: Path) -> Path:
    """A copy of csrc/cuda, with the headers of csrc that it includes, that is built for float32 alone."""
    shutil.copytree(build.CUDA_SOURCES, folder / "csrc" / "cuda")
    for header in build.CUDA_SOURCES.parent.glob("*.h"):
        shutil.copy(header, folder / "csrc")
    cuda = folder / "csrc" / "cuda"
    for case in OTHER_DTYPES:
        replace_once(cuda / DTYPES_FILE, case, "")
    replace_once(cuda / DTYPES_FILE, LAST_DTYPE, LAST_DTYPE.replace("__nv_bfloat16", "float"))
    return cuda


def check(operator: Operator, part: str, folder: Path, shape: Shape) -> None:
    """One pass against the reference in several schedules; raises whatever shows that something is wrong."""
    dtype = torch.float32
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
    replace_once(next(cuda.rglob(mutant.file)), mutant.original, mutant.replacement)
    with pytest.raises((AssertionError, harness.EmulationError)):
        check(mutant.operator, mutant.part, cuda, mutant.shape or SHAPES[mutant.operator])


@pytest.mark.parametrize("part", PASSES)
@pytest.mark.parametrize("operator", [pytest.param(o, marks=harness.needs(o.name), id=str(o)) for o in SHAPES])
def test_unbroken_copies_pass(operator: Operator, part: str, tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    for shape in {SHAPES[operator], *(m.shape for m in MUTANTS if m.operator is operator and m.shape)}:
        check(operator, part, copy, shape)


def test_every_operator_has_mutants() -> None:
    """Of each kind, and of either pass."""
    names = [name for name in OPERATORS if build.operator_sources(name) and name not in WITH_OWN_MUTANTS]
    assert {(m.operator.name, m.kind) for m in MUTANTS} >= {(name, kind) for name in names for kind in KINDS}
    assert {(m.operator.name, m.part) for m in MUTANTS} >= {(name, part) for name in names for part in PASSES}
