"""The result of one recording, and results as CSV."""

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
    """The result of one recording: its metrics before and after enhancement, and errors.

    Args:
        name: name of the mixture, the pair or the recording.
        label: kind of noise, if known.
        snr_db: SNR of the mixture in dB, if known.
        seconds: length of the recording in seconds. 0 if it could not be read.
        noisy: metrics of the input by name. A metric that cannot be computed is missing.
        enhanced: metrics of the output, likewise.
        errors: why the missing metrics could not be computed.
        silent: whether the output is silent or constant. It has no metrics then.
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
        """Restore a result from the dictionary of ``dataclasses.asdict``, even if it was converted to JSON and back."""
        return cls(**{**row, "errors": tuple(row["errors"])})


def figures_of(results: Iterable[Result]) -> list[str]:
    """Return the names of the metrics that at least one result has, in the order of tables."""
    present = {name for result in results for name in (*result.noisy, *result.enhanced)}
    return [name for name in UNITS if name in present]


def write_csv(results: Sequence[Result], path: str | os.PathLike[str]) -> None:
    """Write one line for each recording. A metric that could not be computed is empty; the last column says why."""
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
