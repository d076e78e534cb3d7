"""The table of figures: what is met, what it was taken from, and its files."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks import memory, scaling, stream, table
from benchmarks.harness import RESULTS, Record, Report, Settings
from benchmarks.scaling import Shape
from benchmarks.stream import Figure
from benchmarks.table import ROWS, Measured, Row
from benchmarks.table_results import Results, render, stored
from benchmarks.variants import VARIANTS
from lite_rtse_ext.benchmark.environment import environment
from lite_rtse_ext.benchmark.frames import FrameTimes
from lite_rtse_ext.benchmark.timing import Quantiles


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


def saved(folder: Path) -> Results:
    (path,) = (folder / "table").iterdir()
    return Results.load(path)


def test_the_table_and_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(2.5), row(1.0), row(4.0, at_least=False), row(math.nan)]
    table.main(["--results", str(tmp_path)], rows)
    text = (tmp_path / "table.md").read_text()
    assert "| row of 2.5 | ≥ 2 × | ≥ 3 × | 2.5 × (floor) |" in text
    assert "| row of 1 | ≥ 2 × | ≥ 3 × | 1 × (no) |" in text
    assert "| row of 4 | ≤ 15 × | ≤ 5 × | 4 × (aim) |" in text
    assert "| row of nan | ≥ 2 × | ≥ 3 × | – |" in text
    assert text.endswith("\nrow of nan: a detail\n")
    assert text in capsys.readouterr().out
    assert {what: figure.value for what, figure in saved(tmp_path).figures.items()} == {
        "row of 2.5": 2.5,
        "row of 1": 1.0,
        "row of 4": 4.0,
    }


def test_a_run_of_some_rows_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table.main(["--results", str(tmp_path), "--only", "2.5", "of 4"], [row(2.5), row(1.0), row(4.0)])
    before = saved(tmp_path).figures
    assert list(before) == ["row of 2.5", "row of 4"]
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    table.main(["--results", str(tmp_path), "--only", "2.5"], [replace(row(9.0), what="row of 2.5"), row(4.0)])
    after = saved(tmp_path).figures
    assert after["row of 4"] == before["row of 4"]
    assert after["row of 2.5"].value == 9.0
    assert after["row of 2.5"].command.startswith("ATEN_CPU_CAPABILITY=avx2 python -m benchmarks.table")


def test_other_processors_stay_beside_this_one(tmp_path: Path) -> None:
    here = environment()
    for other in (
        replace(here, machine="x86_64, Another (family 6, model 7)"),
        replace(here, isa="another"),
    ):
        old = Report("table", "the command", "2026-01-02T03:04:05", other, {}, {})
        results, _ = stored(tmp_path / "table", old)
        results.figures["row of 2.5"] = table.Figure(3.25, "measured there", old.date, old.command)
        results.save(tmp_path / "table")
    before = {path: path.read_text() for path in (tmp_path / "table").iterdir()}
    table.main(["--results", str(tmp_path)], [row(2.5), row(1.0)])
    assert {path: path.read_text() for path in before} == before
    text = (tmp_path / "table.md").read_text()
    assert "| row of 2.5 | ≥ 2 × | ≥ 3 × | 2.5 × (floor) | 3.25 × (aim) | 3.25 × (aim) |" in text
    assert "| row of 1 | ≥ 2 × | ≥ 3 × | 1 × (no) | – | – |" in text
    assert "\n## Another (family 6, model 7), " in text
    assert "\n- 2026-01-02T03:04:05: `the command`\n" in text
    assert "\n- row of 2.5 (2026-01-02): measured there" in text


def test_the_committed_files_are_those_of_the_rows() -> None:
    files = sorted((RESULTS / "table").iterdir())
    every = [Results.load(path) for path in files]
    assert [path.name for path in files] == [results.file for results in every]
    assert {what for results in every for what in results.figures} <= {entry.what for entry in ROWS}
    # The run that wrote the copy put its own processor first.
    text = (RESULTS / "table.md").read_text()
    assert sorted(line for line in text.splitlines() if line.startswith("- ")) == sorted(
        line for line in render(ROWS, every).splitlines() if line.startswith("- ")
    )


BOUNDS = [
    ("network, training step", 11, 14),
    ("network, inference", 3.3, 4),
    ("convolution branch", 13, 16),
    ("Conv-Block", 55, 65),
    ("streaming: against ONNX Runtime", 4, 5),
    ("process time of enhance, of RNNoise", 0.45, 0.3),
    ("process time of enhance, of GTCRN", 0.33, 0.2),
    ("training step of 1 s", 25, 15),
    ("peak memory of a training step", 0.076, 0.05),
    ("Multi-Order block", 8, 12),
    ("depthwise cascade, share", 60, 75),
    ("depthwise cascade with all of its block", 45, 60),
    ("reconstruction", 4, 8),
    ("two threads against one", 1.7, 1.9),
    ("streaming: a frame of 16 ms, p50", 1, 0.5),
    ("streaming: a frame of 16 ms, p99", 2, 0.8),
    ("1 s to 300 s, B 1 to 32: cost spread", 15, 5),
]


@pytest.mark.parametrize("entry", ROWS, ids=lambda entry: entry.what)
def test_every_row_has_its_bounds(entry: Row) -> None:
    (bounds,) = [(floor, aim) for words, floor, aim in BOUNDS if entry.what.startswith(words)]
    assert (entry.floor, entry.aim) == bounds
    assert entry.at_least == (entry.aim > entry.floor)


def test_a_rehearsal_measures_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows are measured with tiny sizes, and saved. Their values mean nothing."""
    monkeypatch.setattr(scaling, "shapes", lambda: [Shape(1, 2), Shape(2, 2)])
    monkeypatch.setattr(scaling, "WORKLOAD", Shape(1, 3))
    monkeypatch.setattr(scaling, "SECONDS_A_ROUND", 0.01)
    monkeypatch.setattr(table, "SECONDS_OF_SOUND", 0.1)
    monkeypatch.setattr(
        memory, "_measure", lambda side, *which: (1.0, memory._candidate(side, *which[:2], 1, 3, "cpu").run())
    )
    monkeypatch.setattr(stream, "figures", partial(stream.figures, frames=stream.SKIPPED + 2))
    table._stream_figures.cache_clear()
    slow = [name for name, variant in VARIANTS.items() if variant.compiles or not variant.trains]
    sizes = ["--batch", "1", "--frames", "3", "--rounds", "1", "--warm-up", "0"]
    table.main([*sizes, "--results", str(tmp_path), "--without", *slow])
    table._stream_figures.cache_clear()
    results = saved(tmp_path)
    absent = {entry.what for entry in ROWS} - set(results.figures)
    assert all(what.startswith("process time") or "ONNX" in what for what in absent)
    for what, figure in results.figures.items():
        assert figure.value >= 0, what
        assert figure.detail, what
        assert figure.records or what.startswith(("streaming", "process time")), what


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
    assert [entry.measure(answer, settings).value for entry in rows] == [4.5, 0.25, 0.5]
    assert "ONNX Runtime, one frame 1.000" in rows[1].measure(answer, settings).detail
    assert calls == [settings.rounds]
    table._stream_figures.cache_clear()


@pytest.mark.parametrize(
    "measure", [table._cascade, table._share(table.BLOCK, "backward"), table._threads("mask_residual", table.BOTH)]
)
def test_rows_measure(answer: Report, settings: Settings, measure: object) -> None:
    assert callable(measure)
    found = measure(answer, settings)
    assert found.value > 0
    assert found.detail
    assert answer.records
