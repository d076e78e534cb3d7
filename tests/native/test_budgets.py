"""No kernel takes more instructions than its budget says: a slow-down is seen without a timed test."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from . import budgets
from .budgets import Case, Count, Loops

HERE = Path(__file__).parent
CHEAP = Case("mask_residual", "forward", "float32", "baseline")


@pytest.fixture(scope="module")
def built() -> Path:
    """The folder of the program whose calls are counted, and of the objects whose loops are."""
    compiler = os.environ.get("CXX", "")
    if problem := budgets.missing("make", shlex.split(compiler or "g++")[0]):
        pytest.skip(problem)
    # A folder for each compiler: make would take objects that another has built.
    out = Path("build") / re.sub(r"\W", "_", compiler)
    command = ["make", "--directory", str(HERE), "--silent", "-j2", "counted", f"OUT={out}"]
    subprocess.run(command, check=True, timeout=budgets.TIMEOUT_SECONDS)
    return HERE / out / "counted"


@pytest.fixture(scope="module")
def recorded(built: Path) -> dict[str, dict[str, float]]:
    """The budgets of the compiler that built the program."""
    compiler, known = budgets.compiler(built), budgets.read_budgets()
    if compiler not in known:
        pytest.skip(f"no budgets were recorded with {compiler}, only with {', '.join(known)}")
    return known[compiler]


def count(case: Case, built: Path) -> Count:
    if problem := budgets.missing("valgrind"):
        pytest.skip(problem)
    try:
        return budgets.count(case, built)
    except budgets.LacksIsaError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("case", budgets.recorded_cases(), ids=lambda case: str(case).replace(" ", "-"))
def test_call(case: Case, built: Path, recorded: dict[str, dict[str, float]]) -> None:
    if problem := budgets.check_call(case, count(case, built), recorded[budgets.CALLS]):
        pytest.fail(problem, pytrace=False)


def test_avx512_loops(built: Path, recorded: dict[str, dict[str, float]]) -> None:
    if problem := budgets.missing("objdump"):
        pytest.skip(problem)
    if problems := budgets.check_loops(budgets.avx512_loops(built), recorded[budgets.LOOPS]):
        pytest.fail("\n".join(problems), pytrace=False)


def test_budgets_are_those_of_the_calls_that_can_be_counted(built: Path) -> None:
    known = budgets.read_budgets()
    assert known
    wanted = {str(case) for case in budgets.countable(budgets.calls_of(built))}
    for compiler, sections in known.items():
        assert sections[budgets.CALLS].keys() == wanted, compiler


# ---- The check itself ------------------------------------------------------------------------------------------------


def test_count_repeats_and_false_budgets_are_seen(built: Path) -> None:
    """The same count twice; a budget falsified by more than the tolerance fails either way, by less passes."""
    counted = count(CHEAP, built)
    assert count(CHEAP, built) == counted
    assert any("MaskResidualJob" in function for function in counted.functions)

    def check(factor: float) -> str:
        return budgets.check_call(CHEAP, counted, {str(CHEAP): counted.a_point * factor})

    assert check(1.0) == check(1.02) == check(0.98) == ""
    grown = check(1 / 1.1)
    assert f"{counted.a_point:,.2f} instructions to a point" in grown
    assert "+10.0 %" in grown
    assert "worth it, record it: make" in grown
    assert "MaskResidualJob" in grown
    assert "-20.0 %" in check(1.25)
    assert "so that it stays: make" in check(1.25)
    assert "no budget" in budgets.check_call(CHEAP, counted, {})


def test_kernel_that_does_more_is_seen(built: Path) -> None:
    """The backward pass does more than the forward pass may."""
    forward, backward = count(CHEAP, built), count(replace(CHEAP, direction="backward"), built)
    assert "+" in budgets.check_call(CHEAP, backward, {str(CHEAP): forward.a_point})


def test_unknown_case_is_an_error(built: Path) -> None:
    with pytest.raises(budgets.CountError, match="usage"):
        count(replace(CHEAP, call="nothing"), built)


def test_loop_budgets() -> None:
    found = {"a": Loops(100, 130), "b": Loops(100, 150), "new": Loops(16, 20)}
    assert budgets.check_loops(found, {"a": 1.3, "b": 1.5, "new": 1.25}) == []
    spilled, gone, new = budgets.check_loops(found, {"a": 1.3, "b": 1.4, "gone": 2.0})
    assert "loops of b: 1.50 instructions to a multiply-add, budget 1.40: +7.1 %" in spilled
    assert "loops of gone: a budget, but no such loops" in gone
    assert "loops of new: no budget" in new


def test_own_costs() -> None:
    """What a function calls is not its own."""
    lines = ["fn=void lite_rtse::avx2::(anonymous namespace)::rows<float>(float*)", "0 5"]
    lines += ["cfn=b", "calls=2 0", "0 70", "0 1", "", "fn=b", "0 70"]
    assert budgets.own_costs("\n".join(lines)) == Counter({"rows<float>": 6, "b": 70})


def test_loops_of() -> None:
    """An inner loop with twelve multiply-adds and a spill, in an outer one; a short one; one in float64."""
    multiply_adds = [f"vfmadd231ps (%rax),%zmm{i},%zmm12" for i in range(12)]

    def loop(start: int, body: list[str]) -> list[str]:
        lines = [*body, f"jne    {start:x} <f+0x{start:x}>"]
        return [f"   {start + i:x}:\t{text}" for i, text in enumerate(lines)]

    lines = [
        "0000000000000010 <void lite_rtse::avx512::(anonymous namespace)::rows<float>(float*) [clone .constprop.0]>:",
        *loop(0x10, [*multiply_adds, "vmovaps %zmm3,0x8(%rsp)"]),
        "   30:\tjmp    10 <f+0x10>",
        *loop(0x40, multiply_adds[:8]),
        *loop(0x50, [text.replace("ps", "pd") for text in multiply_adds]),
    ]
    assert budgets.loops_of("\n".join(lines)) == {"rows<float>": Loops(multiply_adds=12, instructions=14)}
