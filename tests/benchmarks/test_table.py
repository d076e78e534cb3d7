"""The table of figures: what is met, what it was taken from, and its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import stream, table
from benchmarks.harness import Record, Report, Settings
from benchmarks.stream import Figure
from benchmarks.table import ROWS, Measured, Row
from lite_rtse_ext.benchmark.frames import FrameTimes
from lite_rtse_ext.benchmark.operators import Quantiles


def row(value: float, at_least: bool = True) -> Row:
    floor, aim = (2.0, 3.0) if at_least else (15.0, 5.0)
    return Row(f"row of {value:g}", "×", floor, aim, lambda to, settings: Measured(value, "a detail"), at_least)


@pytest.mark.parametrize(
    ("value", "at_least", "met"),
    [
        (1.99, True, "no"),
        (2.0, True, "floor"),
        (3.0, True, "aim"),
        (15.1, False, "no"),
        (15.0, False, "floor"),
        (5.0, False, "aim"),
        (float("nan"), True, "no"),
        (float("nan"), False, "no"),
    ],
)
def test_met(value: float, at_least: bool, met: str) -> None:
    assert row(value, at_least).met(value) == met


def record(variant: str, ratio: float) -> Record:
    q = Quantiles(ratio, ratio, ratio)
    return Record("c", "w", variant, "float32", 1, 1, 1, 1, q, q, "fused", 0.0, 1.0)


def test_the_fastest_baseline_counts_and_others_are_told(answer: Report) -> None:
    for variant, ratio in (("fused", 1.0), ("eager", 9.0), ("compile", 7.0), ("compile unrolled", 6.0)):
        answer.records.append(record(variant, ratio))
    found = table.fastest(answer, "c", "w", ["eager", "compile", "openvino"])
    assert found.value == 7.0
    assert found.detail == "eager 9.00×; compile 7.00×; compile unrolled 6.00×; without openvino: not installed"


def test_the_table_and_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table.main(["--results", str(tmp_path), "--frames", "3"], [row(2.5), row(1.0), row(4.0, at_least=False)])
    text = (tmp_path / "table.md").read_text()
    assert "| row of 2.5 | ≥ 2 × | ≥ 3 × | 2.5 × | floor | a detail |" in text
    assert "| row of 1 | ≥ 2 × | ≥ 3 × | 1 × | no | a detail |" in text
    assert "| row of 4 | ≤ 15 × | ≤ 5 × | 4 × | aim | a detail |" in text
    assert text in capsys.readouterr().out
    assert [entry["met"] for entry in json.loads((tmp_path / "figures.json").read_text())] == ["floor", "no", "aim"]
    assert Report.load(tmp_path / "table.json").settings["frames"] == 3


def test_only_rows_of_a_word(tmp_path: Path) -> None:
    table.main(["--results", str(tmp_path), "--only", "2.5"], [row(2.5), row(1.0)])
    assert len(json.loads((tmp_path / "figures.json").read_text())) == 1


def test_every_figure_has_its_row() -> None:
    bounds = {entry.what.split(",")[0]: (entry.floor, entry.aim) for entry in ROWS}
    assert bounds["Multi-Order block"] == (8, 12)
    assert bounds["reconstruction"] == (4, 8)
    assert bounds["peak memory of a training step"] == (0.25, 0.125)
    assert {(e.floor, e.aim) for e in ROWS if e.what.startswith("network")} == {(5, 8), (1.5, 2)}
    assert {(e.floor, e.aim) for e in ROWS if "FMA peak" in e.what} == {(60, 75), (45, 60)}
    assert {(e.floor, e.aim) for e in ROWS if "threads" in e.what} == {(1.7, 1.9)}
    assert {(e.floor, e.aim) for e in ROWS if "spread" in e.what} == {(15, 5)}
    assert {(e.floor, e.aim) for e in ROWS if e.what.startswith("streaming")} == {(1, 0.5), (2, 0.8), (2, 4)}


def test_streaming_rows_share_a_measurement(
    answer: Report, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def figure(p50: float, relative: float) -> Figure:
        return Figure(FrameTimes(1, 100, p50, p50, 2 * p50, 3 * p50, 4 * p50), relative, 0.0, [])

    calls = []

    def figures(rounds: int) -> dict[str, Figure]:
        calls.append(rounds)
        return {stream.ENGINE: figure(0.25, 1.0), stream.ONNX_RUNTIME: figure(1.0, 4.5)}

    monkeypatch.setattr(stream, "figures", figures)
    table._stream_figures.cache_clear()
    rows = [entry for entry in ROWS if entry.what.startswith("streaming")]
    assert [entry.measure(answer, settings).value for entry in rows] == [0.25, 0.5, 4.5]
    assert "ONNX Runtime, one frame 1.000" in rows[0].measure(answer, settings).detail
    assert calls == [settings.rounds]
    table._stream_figures.cache_clear()


@pytest.mark.parametrize(
    "measure", [table._cascade, table._share("backward"), table._threads("mask_residual", table.BOTH)]
)
def test_rows_measure(answer: Report, settings: Settings, measure: object) -> None:
    assert callable(measure)
    found = measure(answer, settings)
    assert found.value > 0
    assert found.detail
    assert answer.records
