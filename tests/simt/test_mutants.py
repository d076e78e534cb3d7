"""Broken copies of the kernels: each has one barrier, index or mask spoilt, and the checks of its operator notice.

It shows that a test of an operator would see such a mistake. A mutant is built for one dtype alone, and run in a
process of its own, since it may do anything. ``lstm``, ``gru`` and ``norm_prelu`` have several results, so that their
own tests plant their faults.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from . import build, calls, harness
from .mutants import Mutant, check, copy_sources, replace_once

pytestmark = harness.needs()

PASSES = ("forward", "backward")
KINDS = ("barrier", "index", "mask")
WITH_KERNELS = [name for name in calls.OPERATORS if build.operator_sources(name)]


def planted(name: str) -> Any:
    """What an operator's tests plant: a tuple, which runs here, or what they run themselves."""
    return import_module(f"{__package__}.test_{name}").MUTANTS


MUTANTS: dict[str, tuple[Mutant, ...]] = {n: planted(n) for n in WITH_KERNELS if isinstance(planted(n), tuple)}


def marked(name: str, *values: Any) -> Any:
    return pytest.param(*values, marks=harness.needs(name), id="-".join(map(str, values)))


@pytest.mark.parametrize("mutant", [marked(name, mutant) for name in MUTANTS for mutant in MUTANTS[name]])
def test_mutants_are_caught(mutant: Mutant, tmp_path: Path) -> None:
    cuda = copy_sources(tmp_path, mutant.dtype)
    replace_once(next(cuda.rglob(mutant.file)), mutant.original, mutant.replacement)
    with pytest.raises((AssertionError, harness.EmulationError)):
        check(mutant.operator, mutant.part, cuda, mutant.shape, mutant.multiprocessors, mutant.dtype)


def dtypes(name: str) -> set[torch.dtype]:
    return {mutant.dtype for mutant in MUTANTS[name]}


@pytest.mark.parametrize("part", PASSES)
@pytest.mark.parametrize(
    ("name", "dtype"), [marked(name, name, dtype) for name in MUTANTS for dtype in sorted(dtypes(name), key=str)]
)
def test_unbroken_copies_pass(name: str, dtype: torch.dtype, part: str, tmp_path: Path) -> None:
    copy = copy_sources(tmp_path, dtype)
    of_dtype = [mutant for mutant in MUTANTS[name] if mutant.dtype == dtype]
    for operator, shape, multiprocessors in {(m.operator, m.shape, m.multiprocessors) for m in of_dtype}:
        check(operator, part, copy, shape, multiprocessors, dtype)


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_every_operator_has_mutants(name: str) -> None:
    """Of each kind, and of either pass."""
    assert planted(name)
    if name in MUTANTS:
        assert {mutant.kind for mutant in MUTANTS[name]} == set(KINDS)
        assert {mutant.part for mutant in MUTANTS[name]} == set(PASSES)
