"""``lite-rtse evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lite_rtse_ext.cli.errors import printable
from lite_rtse_ext.cli.weights import chosen
from lite_rtse_ext.utils.extras import require
from lite_rtse_ext.utils.new_folder import new_folder
from lite_rtse_ext.utils.path_name import PathName

if TYPE_CHECKING:
    from lite_rtse_ext.evaluate.result import Result


@click.command()
@click.argument("model", required=False, type=PathName())
@click.option("--data", "manifest", type=PathName(), help="Manifest of `prepare`.")
@click.option("--split", type=click.Choice(["valid", "test"]), default="test", show_default=True)
@click.option("--recordings", type=PathName(), help="Instead: a folder of recordings, or one of them.")
@click.option("--out", "folder", type=PathName(), help="Folder for tables and plots.")
@click.option("--audio", is_flag=True, help="Also write the enhanced recordings there.")
@click.option("--dnsmos/--no-dnsmos", default=True, show_default=True, help="Whether to ask DNSMOS, too.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; by default one for each usable core.")
def evaluate(
    model: Path | None,
    manifest: Path | None,
    split: str,
    recordings: Path | None,
    folder: Path | None,
    audio: bool,
    dnsmos: bool,
    jobs: int | None,
) -> None:
    """Judge MODEL before and after, on mixtures with a clean side (--data) or on recordings that have none.

    MODEL is a file of Lite-RTSE's parameters, a checkpoint, or the folder of a run; by default the parameters that come
    with the package.

    With --data the figures are SI-SNR, PESQ (wide band), STOI and DNSMOS, on the fixed mixtures and pairs of a
    manifest. With --recordings they are those of DNSMOS, which needs no clean side; any audio file will do. DNSMOS
    P.835 gives opinions from 1 to 5 on speech (SIG), background (BAK) and the whole (OVRL), P.808 on the whole. Every
    recording is brought to one level first, as DNSMOS depends on it.

    Shown are means over all, each SNR and each kind of noise, the gain with its 95 % confidence interval. Recordings
    that come out silent are no gain: the means leave them out, and they are counted below.

    --out keeps the figures: recordings.csv (every recording), summary.json, gains.png, recordings.png and spectrograms
    of the recordings with the smallest, the middle and the largest gain. The same command again goes on where an
    interrupted one was.

    A recording that can't be read, that has no noise to judge, or where a figure can't be computed, is named, and the
    exit code is 1.

    \b
    lite-rtse evaluate --data debian/manifest.json
    lite-rtse evaluate run/best.safetensors --data debian/manifest.json --out judged
    lite-rtse evaluate --recordings calls/ --out judged --audio
    """
    if (manifest is None) == (recordings is None):
        raise click.UsageError("give either --data or --recordings")
    if audio and folder is None:
        raise click.UsageError("--audio needs --out")
    if recordings is not None and not dnsmos:
        raise click.UsageError("--no-dnsmos leaves no figure for --recordings")
    packages = ["torch", "matplotlib", "pesq", "pydantic", "pystoi", "scipy", "torchmetrics"]
    require("judging", "eval", [*packages, *["onnxruntime", "speechmos"] * dnsmos])
    results = _judge(chosen(model), manifest, split, recordings, folder, audio, dnsmos, jobs)
    failed = [f"{result.name}: {error}" for result in results for error in result.errors]
    for line in failed:
        click.echo(f"Error: {line}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _judge(
    model: Path,
    manifest: Path | None,
    split: str,
    recordings: Path | None,
    folder: Path | None,
    audio: bool,
    dnsmos: bool,
    jobs: int | None,
) -> list[Result]:
    from lite_rtse_ext import __version__
    from lite_rtse_ext.evaluate.journal import Journal, files_of_model, stamp
    from lite_rtse_ext.evaluate.report import write_report
    from lite_rtse_ext.evaluate.run import evaluate as judge
    from lite_rtse_ext.evaluate.sources import MakeSource, ManifestSource, RecordingSource
    from lite_rtse_ext.evaluate.summary import table

    make_source: MakeSource
    about: dict[str, Any] = {"model": str(model), "version": __version__}
    if manifest is not None:
        make_source = partial(ManifestSource, manifest, split)
        about |= {"data": str(manifest), "split": split}
    elif recordings is not None:
        make_source = partial(RecordingSource, recordings, folder)
        about |= {"recordings_in": str(recordings)}
    source = make_source()
    for remark in getattr(source, "remarks", ()):
        click.echo(printable(remark), err=True)
    with nullcontext() if folder is None else new_folder(folder):
        journal = None
        if folder is not None:
            files = stamp([*files_of_model(model), *([manifest] if manifest else [])])
            journal = Journal(folder / "unfinished.jsonl", about | {"files": files, "dnsmos": dnsmos, "audio": audio})
            if journal.count:
                click.echo(f"{folder}: results of an interrupted run found: {journal.count}", err=True)
        options: dict[str, Any] = {"jobs": jobs, "opinions": dnsmos, "journal": journal}
        target = folder / "audio" if folder is not None and audio else None
        results = _with_progress(lambda step: judge(model, make_source, audio=target, progress=step, **options))
        click.echo(table(results))
        if folder is not None and journal is not None:
            write_report(results, model, source, folder, about)
            journal.remove()
            click.echo(f"\ntables and plots: {folder}")
    return results


def _with_progress(work: Callable[[Callable[[int, int], None]], list[Result]]) -> list[Result]:
    with click.progressbar(length=1, label="judging", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def step(done: int, count: int) -> None:
            bar.length = count
            bar.update(done - bar.pos)

        return work(step)
