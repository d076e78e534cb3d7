"""Tables and plots of reports."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Record, Report
from lite_rtse_ext.signal import FRAMES_PER_SECOND


def header(report: Report) -> str:
    """Return two lines about command, date and machine, and a third about the GPU if one was timed."""
    e = report.environment
    return (
        f"{report.command}   ({report.date})\n"
        f"{e.machine}, {e.cores} cores, {e.memory_gib} GiB; {e.isa}, {e.threads} thread(s), torch {e.torch}; "
        f"one thread: {e.fma_peak_gflops} GFLOP/s float32 peak, {e.copy_gbps} GB/s copy"
        + (f"\n{e.gpu}" if e.gpu else "")
    )


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Align rows in columns. The first column is left-aligned, the others are right-aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def table(report: Report) -> str:
    """Format all records as a table, and below it the lines about missing measurements."""
    extras = sorted({name for record in report.records for name in record.extra})
    rows = [["", "variant", "B × T", "threads", "p20 ms", "p50 ms", "p80 ms", "relative", "p20–p80", "diff", *extras]]
    for r in report.records:
        rows.append(
            [
                f"{r.case}, {r.what}, {r.dtype}",
                r.variant,
                f"{r.batch} × {r.frames}",
                str(r.threads),
                *((f"{value:.1f}" for value in (r.ms.p20, r.ms.p50, r.ms.p80)) if r.ms else ("", "", "")),
                f"{r.relative.p50:.2f}×",
                f"{r.relative.p20:.2f}–{r.relative.p80:.2f}",
                f"{r.difference:.0e}",
                *(f"{r.extra[name]:.3g}" if name in r.extra else "" for name in extras),
            ]
        )
    bases = sorted({record.relative_to for record in report.records})
    note = f"relative: over that of {' or '.join(bases)}, pair by pair; diff: from the reference, relative L2"
    return "\n".join([header(report), "", grid(rows), note, *report.missing])


def figure(path: Path, draw: Callable[[Any], None], size: tuple[float, float]) -> str:
    """Draw a plot and save it. Returns a line with its path, or with the reason why there is no plot."""
    try:
        matplotlib_figure = importlib.import_module("matplotlib.figure")  # not pyplot, which chooses a GUI backend
    except ModuleNotFoundError:
        return f"no plot {path.name}: matplotlib is not installed: pip install 'lite-rtse-ext[bench]'"
    plot = matplotlib_figure.Figure(figsize=size, layout="constrained")
    draw(plot.subplots())
    path.parent.mkdir(parents=True, exist_ok=True)
    plot.savefig(path, dpi=120)
    return f"plot: {path}"


def bars(report: Report, path: Path) -> str:
    """Plot one group of bars per comparison, relative to its base. The whiskers reach from p20 to p80."""
    groups: dict[str, list[Record]] = {}
    for record in report.records:
        groups.setdefault(f"{record.case}\n{record.what}", []).append(record)
    variants = list(dict.fromkeys(record.variant for record in report.records))

    def draw(axes: Any) -> None:
        height = 0.8 / len(variants)
        for place, records in enumerate(groups.values()):
            for record in records:
                number = variants.index(record.variant)
                q = record.relative
                axes.barh(
                    place + number * height,
                    q.p50,
                    height,
                    xerr=[[max(0.0, q.p50 - q.p20)], [max(0.0, q.p80 - q.p50)]],
                    color=f"C{number}",
                    label=record.variant if place == 0 else None,
                )
        axes.set_yticks([place + 0.4 for place in range(len(groups))], list(groups))
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel(f"relative to {report.records[0].relative_to}")
        axes.legend()

    return figure(path, draw, (9, 1.5 + 0.2 * len(report.records)))


def scaling(report: Report, path: Path) -> str:
    """Plot the cost per second of audio against the seconds of audio, one line per case and pass.

    The cost is relative to that of the reference workload.
    """

    def draw(axes: Any) -> None:
        series: dict[str, list[Record]] = {}
        for record in report.records:
            kind = "one utterance" if record.batch == 1 else f"{record.frames / FRAMES_PER_SECOND:g} s each"
            series.setdefault(f"{record.case}, {record.what}, {kind}", []).append(record)
        for name, records in series.items():
            records = sorted(records, key=lambda record: record.extra["seconds of audio"])
            costs = [record.relative.p50 for record in records]
            axes.plot([record.extra["seconds of audio"] for record in records], costs, "o-", label=name)
        axes.set_xscale("log")
        axes.set_xlabel("seconds of audio in one call")
        axes.set_ylabel("cost per second of audio, relative to the reference workload")
        axes.legend()

    return figure(path, draw, (8, 5))


def roofline(report: Report, path: Path) -> str:
    """Plot operations per second against operations per compulsory byte, and the roof of peak and bandwidth."""
    peak, bandwidth = report.environment.fma_peak_gflops, report.environment.copy_gbps

    def draw(axes: Any) -> None:
        intensities = [record.extra["FLOP/byte"] for record in report.records]
        ridge = peak / bandwidth
        low, high = min([*intensities, ridge]) / 2, max([*intensities, ridge]) * 2
        axes.plot([low, ridge, high], [low * bandwidth, peak, peak], "k-", label="roof: copy bandwidth, FMA peak")
        for record in report.records:
            label = f"{record.case}, {record.what}, {record.variant}"
            marker = "o" if record.variant == "fused" else "x"
            axes.plot(record.extra["FLOP/byte"], record.extra["GFLOP/s"], marker, label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("operations executed a compulsory byte")
        axes.set_ylabel("GFLOP/s executed")
        axes.legend(fontsize="small")

    return figure(path, draw, (9, 6))


def finish(report: Report, folder: Path, plot: Callable[[Report, Path], str] = bars) -> None:
    """Save, draw and print a report."""
    saved = report.save(folder)
    print(table(report))
    print(f"results: {saved}")
    if report.records:
        print(plot(report, folder / f"{report.question}.png"))
