"""Networks after ``fuse`` beside eager and compiled PyTorch, on a small network and without the compiler."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from torch import Tensor, nn

from benchmarks import fused_networks
from benchmarks.fused_networks import (
    COMPILED,
    EAGER,
    EAGER_LAST,
    FUSED,
    FUSED_LAST,
    INFERENCE,
    TRAINING,
    Row,
    main,
    rows,
    table,
)
from lite_rtse_ext.benchmark.operators import WrongResult
from lite_rtse_ext.benchmark.timing import Rounds
from tests.models.networks import GruMask

NAME = GruMask.architecture


def found(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[Tensor], Tensor] | None, milliseconds: dict[str, float]
) -> list[Row]:
    """The rows of the network with this compiled side, timed so. Without one it is the network itself."""
    monkeypatch.setattr(fused_networks, "compiled", lambda module, inference: run or module)

    def measure(candidates: list[fused_networks.Candidate], rounds: int, **_: object) -> Rounds:
        return Rounds({each.name: [1e-3 * milliseconds[each.name]] * rounds for each in candidates}, [])

    monkeypatch.setattr(fused_networks, "measure", measure)
    return list(rows([NAME], 2, 0.1))


def test_fused_is_set_against_eager_and_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    for times, fastest, ours, ratio in (
        ({EAGER: 6.0, EAGER_LAST: 5.0, COMPILED: 3.0, FUSED: 2.0, FUSED_LAST: 2.5}, COMPILED, FUSED, 1.5),
        ({EAGER: 4.0, EAGER_LAST: 4.5, COMPILED: 5.0, FUSED: 2.0, FUSED_LAST: 2.5}, EAGER, FUSED, 2.0),
        ({EAGER: 6.0, EAGER_LAST: 4.0, COMPILED: 5.0, FUSED: 2.0, FUSED_LAST: 1.0}, EAGER_LAST, FUSED_LAST, 4.0),
    ):
        answers = found(monkeypatch, None, times)
        assert [row.what for row in answers] == [INFERENCE, TRAINING]
        for row in answers:
            assert (row.fastest, row.ours, row.against_fastest["p50"]) == (fastest, ours, pytest.approx(ratio))
            assert row.ratios[FUSED]["p50"] == pytest.approx(times[EAGER] / times[FUSED])
        shown = table(answers)
        assert f"{fastest} : {ours} {ratio:.2f}" in shown
        assert "ms, compiled" in shown


def failing(x: Tensor) -> NoReturn:
    raise RuntimeError("no C++ compiler\nand more lines")


def wrong(x: Tensor) -> Tensor:
    return (2 * x).requires_grad_(x.is_inference() is False)


@pytest.mark.parametrize(("run", "words"), [(failing, "RuntimeError: no C++ compiler"), (wrong, "differ by")])
def test_what_does_not_compile_is_left_out_with_the_reason(
    run: Callable[[Tensor], Tensor], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = {EAGER: 4.0, EAGER_LAST: 5.0, FUSED: 2.0, FUSED_LAST: 3.0}
    answers = found(monkeypatch, run, times)
    assert [set(row.milliseconds) for row in answers] == [set(times)] * 2
    assert {row.fastest for row in answers} == {EAGER}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"{NAME}, {INFERENCE}", f"{NAME}, {TRAINING}"]
    assert all("torch.compile is left out" in line for line in lines)
    assert words in lines[0]


def test_a_wrong_fused_network_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(model: nn.Module) -> None:
        model.out.bias.data += 1

    monkeypatch.setattr(fused_networks, "fuse", spoil)
    with pytest.raises(WrongResult, match="fused and eager differ"):
        found(monkeypatch, None, {})


def test_the_command_saves_what_it_prints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fused_networks, "NETWORKS", (NAME,))
    monkeypatch.setattr(fused_networks, "compiled", lambda module, inference: module)
    without = {EAGER, EAGER_LAST, FUSED, FUSED_LAST}
    for more, sides in (([], without | {COMPILED}), (["--no-compile"], without)):
        main(["--networks", NAME, "--rounds", "1", "--seconds", "0.1", "--results", str(tmp_path), *more])
        assert NAME in capsys.readouterr().out
        saved = json.loads((tmp_path / "fused_networks.json").read_text(encoding="utf-8"))["rows"]
        assert [set(row["milliseconds"]) for row in saved] == [sides] * 2


def test_a_gradient_must_agree_for_one_input() -> None:
    """Rounding may change the sign of a value near zero. A fault shows for every input."""

    def side(*wrong_seeds: int) -> fused_networks.Pass:
        return lambda seed: lambda: [torch.ones(4) + (seed in wrong_seeds)]

    def is_right(fused: fused_networks.Pass, exact: fused_networks.Pass | None, inputs: int) -> bool:
        expected = partial(fused_networks._expected, side(), exact)
        return fused_networks._is_right(FUSED, fused, expected, inputs, "here")

    assert is_right(side(0, 1), side(), 3)
    for wrong, exact, inputs in ((side(0, 1, 2), side(), 3), (side(0), None, 1)):
        with pytest.raises(WrongResult, match="here: fused and eager differ"):
            is_right(wrong, exact, inputs)
