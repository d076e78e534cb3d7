"""Faults to plant in the CUDA kernels of csrc/cuda: a barrier taken out, an index or a mask spoilt.

The tuple MUTANTS in an operator's tests has them. Many more were tried, and all were noticed. Those that are kept show
least: in the fewest schedules, or with the smallest error. Each operator has all three kinds, and each pass of its
kernels, for usual and for any sizes, has one.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..compare import assert_agrees
from ..ops.operators import (
    BACKWARD_TOLERANCE,
    FORWARD_TOLERANCE,
    HALF_TYPES,
    Operator,
    Shape,
    check_no_worse_than_eager,
    cotangent,
    double,
    gradients,
)
from . import build, harness

SEEDS = range(4)

# Where launchers choose the kernels of a dtype; with only one left, building takes a quarter of the time.
DTYPES_FILE = "common/launch.cuh"
CASES = {
    torch.float64: "    case DType::f64: return f.template operator()<double>();\n",
    torch.float32: "    case DType::f32: return f.template operator()<float>();\n",
    torch.float16: "    case DType::f16: return f.template operator()<__half>();\n",
}
LAST_DTYPE = "return f.template operator()<__nv_bfloat16>();"
TYPES = {
    torch.float64: "double",
    torch.float32: "float",
    torch.float16: "__half",
    torch.bfloat16: "__nv_bfloat16",
}


@dataclass(frozen=True)
class Mutant:
    """A replacement for a piece of text that occurs once in a file of csrc/cuda; `part` is the pass that it spoils.

    `shape`: one that the spoilt kernel runs for. `multiprocessors`: of the device; with few, a block has several tiles.
    It is built for `dtype` alone.
    """

    operator: Operator
    part: str
    kind: str
    what: str
    file: str
    original: str
    replacement: str
    shape: Shape
    multiprocessors: int = 82
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        return f"{self.operator}-{self.part}-{self.kind}-{self.what}".replace(" ", "-")


def replace_once(file: Path, original: str, replacement: str) -> None:
    text = file.read_text()
    assert text.count(original) == 1, f"{file.name} has changed: this is not in it once, adapt the mutant:\n{original}"
    file.write_text(text.replace(original, replacement))


def copy_sources(folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """A copy of csrc/cuda, with the headers of csrc that it includes, that is built for one dtype alone."""
    shutil.copytree(build.CUDA_SOURCES, folder / "csrc" / "cuda")
    for header in build.CUDA_SOURCES.parent.glob("*.h"):
        shutil.copy(header, folder / "csrc")
    cuda = folder / "csrc" / "cuda"
    for case in CASES.values():
        replace_once(cuda / DTYPES_FILE, case, "")
    replace_once(cuda / DTYPES_FILE, LAST_DTYPE, LAST_DTYPE.replace("__nv_bfloat16", TYPES[dtype]))
    return cuda


def check(
    operator: Operator,
    part: str,
    folder: Path,
    shape: Shape,
    multiprocessors: int,
    dtype: torch.dtype = torch.float32,
) -> None:
    """One pass against the reference in several schedules; raises whatever shows that something is wrong.

    Of half types it is both passes, against eager PyTorch, on a device whose tensor cores are used most.
    """
    name = "sm_90" if dtype in HALF_TYPES else "sm_86"
    options: dict[str, Any] = {"device": harness.with_multiprocessors(multiprocessors, name), "folder": folder}
    options["flavour"] = "quick"
    if dtype in HALF_TYPES:
        for seed in SEEDS:
            check_no_worse_than_eager(harness.emulated(operator, seed=seed, **options), shape, dtype, "cpu")
        return
    tensors = operator.inputs(shape, dtype=dtype)
    arguments, dy = operator.arguments(tensors), cotangent(torch.empty(operator.result_size(shape), dtype=dtype))
    exact, expected = gradients(operator.reference, double(tensors), dy)
    for seed in SEEDS:
        if part == "forward":
            y = harness.run(operator.name, *arguments, seed=seed, **options)
            assert_agrees(y, exact, FORWARD_TOLERANCE[dtype], "result")
        else:
            found = harness.run(f"{operator.name}_backward", dy, *arguments, seed=seed, **options)
            for name, gradient in zip(expected, harness.flat(found), strict=True):
                assert_agrees(gradient, expected[name], BACKWARD_TOLERANCE[dtype], f"gradient of {name}")
