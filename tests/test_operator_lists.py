"""Every operator of ``csrc/operators.h`` has its files, and its name in each list that a person keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lite_rtse_ext
from lite_rtse_ext import ops, reference

from .cuda import network
from .ops.operators import OPERATORS, WITH_LSTM
from .simt import calls

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="runs in a checkout only")


def declared() -> dict[str, str]:
    """The operators of ``csrc/operators.h``, each with the beginning of its structs' names."""
    text = (ROOT / "csrc" / "operators.h").read_text(encoding="utf-8")
    return dict(re.findall(r"^ +X\((\w+), (\w+)\)", text, re.MULTILINE))


def test_the_lists_have_the_same_operators() -> None:
    names = set(declared())
    assert len(names) >= 6
    assert names == {operator.name for operator in WITH_LSTM}
    assert names <= set(lite_rtse_ext.__all__) & set(ops.__all__) & set(reference.__all__)
    assert set(lite_rtse_ext._OPERATORS) == names


@pytest.mark.parametrize("name", declared() if (ROOT / "csrc").exists() else [])
def test_an_operator_has_one_name_in_every_folder(name: str) -> None:
    files = [f"csrc/ops/{name}.cpp", f"csrc/cpu/{name}.inl", f"lite_rtse_ext/ops/_{name}.py"]
    for path in (*files, f"tests/native/operators/{name}.cpp"):
        assert (ROOT / path).exists(), path
    assert f'#include "{name}.inl"' in (ROOT / "csrc" / "cpu" / "build.inl").read_text(encoding="utf-8")


def test_the_pages_show_the_whole_package() -> None:
    assert "::: lite_rtse_ext.ops\n" in (ROOT / "docs" / "api" / "operators.md").read_text(encoding="utf-8")


def test_the_emulator_and_the_plans_know_what_has_cuda_kernels() -> None:
    kernels = {path.name for path in (ROOT / "csrc" / "cuda").iterdir() if path.is_dir()} - {"common"}
    assert kernels <= set(calls.OPERATORS)
    assert {operator.name for operator in OPERATORS} <= set(network.OPERATORS.values())


def test_a_folder_of_cuda_kernels_belongs_to_an_operator() -> None:
    folders = {path.name for path in (ROOT / "csrc" / "cuda").iterdir() if path.is_dir()} - {"common"}
    assert folders <= set(declared())
    assert all((ROOT / "csrc" / "cuda" / name / f"{name}.cu").exists() for name in folders)
