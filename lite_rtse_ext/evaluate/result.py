"""What is known of one recording."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lite_rtse_ext.evaluate.metrics import UNITS
from lite_rtse_ext.utils.atomic_file import replacing

__all__ = ["Result", "figures_of", "write_csv"]


@dataclass(frozen=True)
class Result:
    """One recording: its figures before and after, and what went wrong.

    Args:
        name: of the mixture, the pair or the recording.
        label: its kind of noise, if known.
        snr_db: of the mixture, if known.
        seconds: its length; 0 where it could not be read.
        noisy: figures of the input by name; one that can't be computed is missing.
        enhanced: the same of the output.
        errors: what was in the way of those.
        silent: whether the output is silent, or constant: it then has no figures.
    """

    name: str
    label: str | None
    snr_db: float | None
    seconds: float
    noisy: dict[str, float] = field(default_factory=dict)
    enhanced: dict[str, float] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    silent: bool = False

    @classmethod
    def from_plain(cls, row: dict[str, Any]) -> Result:
        """The result that ``dataclasses.asdict`` made a dictionary of, also by way of JSON."""
        return cls(**{**row, "errors": tuple(row["errors"])})


def figures_of(results: Iterable[Result]) -> list[str]:
    """Names of the figures that any of the results has, in the order of tables."""
    present = {name for result in results for name in (*result.noisy, *result.enhanced)}
    return [name for name in UNITS if name in present]


def write_csv(results: Sequence[Result], path: str | os.PathLike[str]) -> None:
    """A line for each recording; a figure that couldn't be computed is empty, and the last column says why."""
    columns = [f"{side}_{name}" for name in figures_of(results) for side in ("noisy", "enhanced")]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "noise", "snr_db", "seconds", *columns, "errors"])
        for result in results:
            figures = {f"noisy_{k}": v for k, v in result.noisy.items()}
            figures |= {f"enhanced_{k}": v for k, v in result.enhanced.items()}
            row = [f"{figures[column]:.4f}" if column in figures else "" for column in columns]
            snr = "" if result.snr_db is None else f"{result.snr_db:g}"
            seconds = f"{result.seconds:.2f}"
            writer.writerow([result.name, result.label or "", snr, seconds, *row, "; ".join(result.errors)])
