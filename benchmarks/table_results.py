"""Results of the table of targets, one file for each processor and instruction set, and the table of all of them.

A run replaces the figures that it measures. The other figures of its file, and the files of other processors, stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.harness import Record, Report, Settings, record_of
from lite_rtse_ext.benchmark.environment import Environment
from lite_rtse_ext.utils.atomic_file import replacing


@dataclass(frozen=True)
class Measured:
    """A measured value, and a text about its origin. NaN if the value could not be measured."""

    value: float
    detail: str


@dataclass(frozen=True)
class Row:
    """A target with its floor and aim. ``at_least`` says whether larger values are better."""

    what: str
    unit: str
    floor: float
    aim: float
    measure: Callable[[Report, Settings], Measured]
    at_least: bool = True

    def met(self, value: float) -> str:
        """Return the best bound that the value meets, "aim" or "floor", or else "no".

        The value is compared as the table shows it, with three digits.
        """
        value = float(f"{value:.3g}")
        reached = [name for name, bound in (("aim", self.aim), ("floor", self.floor)) if self._reaches(value, bound)]
        return reached[0] if reached else "no"

    def _reaches(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound

    def bound(self, value: float) -> str:
        """Format the floor or the aim."""
        return f"{'≥' if self.at_least else '≤'} {value:g} {self.unit}".rstrip()

    def cell(self, value: float) -> str:
        """Format a measured value, and say which bound it meets."""
        return f"{value:.3g} {self.unit}".rstrip() + f" ({self.met(value)})"


@dataclass(frozen=True)
class Figure:
    """A stored result: value and text, the run's date and command, and the records behind it."""

    value: float
    detail: str
    date: str
    command: str
    records: list[Record] = field(default_factory=list)


@dataclass(frozen=True)
class Results:
    """The figures of one processor with one instruction set, by the row's ``what``."""

    environment: Environment
    packages: dict[str, str]
    figures: dict[str, Figure] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The processor and the instruction set, as a column's head."""
        return f"{self.environment.machine.partition(', ')[2]}, {self.environment.isa}"

    @property
    def file(self) -> str:
        words = f"{self.environment.machine} {self.environment.isa}".lower()
        return re.sub("[^a-z0-9]+", "_", words).strip("_") + ".json"

    def save(self, folder: Path) -> None:
        """Write the file of this processor and instruction set."""
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / self.file) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a file that :meth:`save` wrote."""
        data = json.loads(path.read_text(encoding="utf-8"))
        figures = {
            what: Figure(**entry | {"records": [record_of(record) for record in entry["records"]]})
            for what, entry in data["figures"].items()
        }
        return cls(Environment(**data["environment"]), data["packages"], figures)


def stored(folder: Path, here: Report) -> tuple[Results, list[Results]]:
    """Return the results of the processor at hand, with the figures stored so far, and those of all others."""
    own = Results(here.environment, here.packages)
    every = {path.name: Results.load(path) for path in sorted(folder.glob("*.json"))}
    if own.file in every:
        own.figures.update(every.pop(own.file).figures)
    return own, list(every.values())


def render(rows: Sequence[Row], every: Sequence[Results]) -> str:
    """Format the table of all processors in Markdown, and below it where each figure is from."""
    head = ["what", "floor", "aim", *(results.name for results in every)]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        found = [results.figures.get(row.what) for results in every]
        cells = [row.cell(figure.value) if figure else "–" for figure in found]
        lines.append(_line([row.what, row.bound(row.floor), row.bound(row.aim), *cells]))
    return "\n".join([*lines, *(line for results in every for line in _origins(rows, results))])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _origins(rows: Sequence[Row], results: Results) -> list[str]:
    e = results.environment
    found = {row.what: results.figures[row.what] for row in rows if row.what in results.figures}
    runs = sorted({(figure.date, figure.command) for figure in found.values()})
    return [
        f"\n## {results.name}\n",
        f"{e.cores} cores, {e.memory_gib} GiB; {e.threads} thread(s), torch {e.torch}; "
        f"one thread: {e.fma_peak_gflops} GFLOP/s float32 peak, {e.copy_gbps} GB/s copy\n",
        *(f"- {date}: `{command}`" for date, command in runs),
        "",
        *(f"- {what} ({figure.date[:10]}): {figure.detail}" for what, figure in found.items()),
    ]
