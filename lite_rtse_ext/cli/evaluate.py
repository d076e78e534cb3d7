"""``lite-rtse evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lite_rtse_ext.cli.errors import one_line, require_packages
from lite_rtse_ext.cli.weights import chosen

if TYPE_CHECKING:
    from lite_rtse_ext.evaluate.run import Result


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--data", "manifest", type=click.Path(path_type=Path), required=True, help="Manifest of `prepare`.")
@click.option("--split", type=click.Choice(["valid", "test"]), default="test", show_default=True)
@click.option("--out", "folder", type=click.Path(path_type=Path), help="Folder for tables and plots.")
@click.option("--audio", is_flag=True, help="Also write the enhanced recordings there.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; by default one a CPU.")
def evaluate(
    model: Path | None, manifest: Path, split: str, folder: Path | None, audio: bool, jobs: int | None
) -> None:
    """Judge MODEL on the fixed mixtures of a manifest: SI-SNR, PESQ (wide band) and STOI, before and after.

    MODEL is a file of Lite-RTSE's parameters, a checkpoint, or the folder of a run; by default the parameters that come
    with the package. Shown are means over all, each SNR and each kind of noise, the gain with its 95 % confidence
    interval. --out keeps them: recordings.csv (every recording), summary.json, gains.png, recordings.png and
    spectrograms of the recordings with the smallest, the middle and the largest gain.

    A recording that can't be read, or a figure that can't be computed, is named, and the exit code is 1.

    \b
    lite-rtse evaluate --data debian/manifest.json
    lite-rtse evaluate run/best.safetensors --data debian/manifest.json --out judged
    """
    with one_line():
        if audio and folder is None:
            raise click.UsageError("--audio needs --out")
        require_packages("judging", "eval", ("matplotlib", "pesq", "pydantic", "pystoi", "scipy", "torchmetrics"))
        from lite_rtse_ext.evaluate.report import write_report
        from lite_rtse_ext.evaluate.run import evaluate as judge
        from lite_rtse_ext.evaluate.summary import table

        if folder is not None:
            (folder / "audio" if audio else folder).mkdir(parents=True, exist_ok=True)
        recordings = folder / "audio" if folder is not None and audio else None
        model = chosen(model)
        results = _with_progress(lambda step: judge(model, manifest, split, jobs=jobs, audio=recordings, progress=step))
        click.echo(table(results))
        if folder is not None:
            write_report(results, model, manifest, split, folder)
            click.echo(f"\ntables and plots: {folder}")
    failed = [f"{result.name}: {error}" for result in results for error in result.errors]
    for line in failed:
        click.echo(f"Error: {line}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _with_progress(work: Callable[[Callable[[int, int], None]], list[Result]]) -> list[Result]:
    with click.progressbar(length=1, label="judging", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def step(done: int, count: int) -> None:
            bar.length = count
            bar.update(done - bar.pos)

        return work(step)
