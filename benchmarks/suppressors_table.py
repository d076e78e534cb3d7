"""Results of :mod:`benchmarks.suppressors` as text tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import show
from benchmarks.artifacts import Artifacts
from lite_rtse_ext.evaluate.metrics import DIGITS, UNITS
from lite_rtse_ext.evaluate.summary import Mean
from lite_rtse_ext.utils.atomic_file import replacing

__all__ = ["Cell", "Comparison", "Row", "tables", "write_json"]


@dataclass(frozen=True)
class Cell:
    """One mixture processed by one suppressor: metrics by name, and an error for each missing metric."""

    figures: dict[str, float] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One mixture and its cells by suppressor."""

    name: str
    noise: str | None
    snr_db: float | None
    cells: dict[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Results of all mixtures.

    Args:
        names: the noisy input, then all suppressors.
        rows: one row for each mixture.
        late: delay that was compensated, in samples, by name of the suppressor.
        missing: one line for each suppressor that could not run.
    """

    names: list[str]
    rows: list[Row]
    late: dict[str, int]
    missing: list[str]

    def figures(self, name: str, figure: str) -> list[float]:
        """Return one metric of a suppressor for all mixtures that have it."""
        return [row.cells[name].figures[figure] for row in self.rows if figure in row.cells[name].figures]

    def differences(self, name: str, other: str, figure: str, other_figure: str | None = None) -> list[float]:
        """Return a metric of one suppressor minus that of another, for all mixtures that have both."""
        pairs = [(row.cells[name].figures, row.cells[other].figures) for row in self.rows]
        second = other_figure or figure
        return [mine[figure] - theirs[second] for mine, theirs in pairs if figure in mine and second in theirs]


def tables(comparison: Comparison, own: str, noisy: str) -> str:
    """Format all tables: gains over the noisy input with 95 % confidence intervals, costs, artifacts, differences.

    The differences are taken between suppressors on the same mixtures.
    """
    present = [figure for figure in UNITS if comparison.figures(noisy, figure)]
    others = [name for name in comparison.names if name not in (own, noisy)]
    parts = [f"Gains over the noisy input, {len(comparison.rows)} mixtures", _gains(comparison, present, noisy)]
    parts += _switched_off(comparison, noisy)
    parts += ["", "Artifacts", _artifacts(comparison, noisy)]
    if own in comparison.names and others:
        parts += ["", f"{own} minus the other, on the same mixtures", _differences(comparison, present, own, others)]
    parts += ["", *_errors(comparison), *comparison.missing]
    return "\n".join(parts).rstrip()


def _gains(comparison: Comparison, present: Sequence[str], noisy: str) -> str:
    grid = [["", *(UNITS[figure] for figure in present), "CPU s per s", "delay ms", "mixtures"]]
    means = [_mean(comparison.figures(noisy, figure), DIGITS[figure], sign="") for figure in present]
    grid.append([f"{noisy} (no gain)", *means, "", "", str(_complete(comparison, noisy, present))])
    for name in comparison.names:
        if name != noisy:
            gains = [_mean(comparison.differences(name, noisy, figure), DIGITS[figure]) for figure in present]
            cost = comparison.figures(name, "cpu")
            cells = [f"{sum(cost) / len(cost):.4f}" if cost else "–", f"{comparison.late[name] / 16:.1f}"]
            grid.append([name, *gains, *cells, str(_complete(comparison, name, present))])
    return show.grid(grid)


def _switched_off(comparison: Comparison, noisy: str) -> Iterator[str]:
    for name in comparison.names:
        gains = comparison.differences(name, noisy, "si_snr_switched_off", "si_snr")
        if gains:
            yield f"{name}, against the clean speech through it with its suppression off: SI-SNR {_mean(gains, 2)} dB"


def _artifacts(comparison: Comparison, noisy: str) -> str:
    grid = [["", "noise reduction in pauses", "kurtosis ratio", "over-suppression < 2 kHz", "> 2 kHz"]]
    patterns = ("{:.1f} dB", "{:.1f}", "{:.0f} %", "{:.0f} %")
    for name in comparison.names:
        if name != noisy:
            found = [comparison.figures(name, kind) for kind in Artifacts._fields]
            means = [sum(values) / len(values) if values else None for values in found]
            cells = ["–" if mean is None else p.format(mean) for mean, p in zip(means, patterns, strict=True)]
            grid.append([name, *cells])
    return show.grid(grid)


def _differences(comparison: Comparison, present: Sequence[str], own: str, others: Sequence[str]) -> str:
    grid = [["", *(UNITS[figure] for figure in present)]]
    for name in others:
        found = [_mean(comparison.differences(own, name, figure), DIGITS[figure]) for figure in present]
        grid.append([name, *found])
    return show.grid(grid)


def _errors(comparison: Comparison) -> Iterator[str]:
    for name in comparison.names:
        faulty = [(row.name, row.cells[name].errors[0]) for row in comparison.rows if row.cells[name].errors]
        if faulty:
            more = f", and {len(faulty) - 1} more" if len(faulty) > 1 else ""
            yield f"{name}: figures are missing: {faulty[0][0]}: {faulty[0][1]}{more}"


def _complete(comparison: Comparison, name: str, present: Sequence[str]) -> int:
    return sum(set(present) <= row.cells[name].figures.keys() for row in comparison.rows)


def _mean(values: Sequence[float], digits: int, sign: str = "+") -> str:
    if not values:
        return "–"
    mean = Mean.of(values)
    spread = f" ± {mean.value - mean.low:.{digits}f}" if mean.count > 1 else ""
    return f"{mean.value:{sign}.{digits}f}{spread}"


def write_json(comparison: Comparison, path: Path) -> None:
    """Write all metrics as JSON. The file is written atomically."""
    mixtures = [
        {
            "name": row.name,
            "noise": row.noise,
            "snr_db": row.snr_db,
            "figures": {name: cell.figures for name, cell in row.cells.items()},
            "errors": {name: list(cell.errors) for name, cell in row.cells.items() if cell.errors},
        }
        for row in comparison.rows
    ]
    content = {"missing": comparison.missing, "late_samples": comparison.late, "mixtures": mixtures}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
