"""The folder that ``lite-rtse evaluate --out`` leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lite_rtse_ext import __version__
from lite_rtse_ext.data.dataset import FixedExamples
from lite_rtse_ext.data.manifest import Manifest
from lite_rtse_ext.evaluate.models import load_model
from lite_rtse_ext.evaluate.plots import plot_gains, plot_recordings, plot_spectrograms
from lite_rtse_ext.evaluate.run import Result, enhance, write_csv
from lite_rtse_ext.evaluate.summary import write_json

__all__ = ["write_report"]


def write_report(results: Sequence[Result], model: Path, manifest: Path, split: str, folder: Path) -> None:
    """Write tables and plots.

    Args:
        results: of :func:`lite_rtse_ext.evaluate.run.evaluate`.
        model: what was judged.
        manifest: on which data.
        split: and which split of it.
        folder: an existing folder.
    """
    write_csv(results, folder / "recordings.csv")
    about = {"model": str(model), "data": str(manifest), "split": split, "version": __version__}
    write_json(results, folder / "summary.json", about)
    plot_gains(results, folder / "gains.png")
    plot_recordings(results, folder / "recordings.png")
    _plot_examples(results, model, manifest, split, folder)


def _plot_examples(results: Sequence[Result], model: Path, manifest: Path, split: str, folder: Path) -> None:
    """Spectrograms of the recordings with the smallest, the middle and the largest gain in SI-SNR."""
    places = [
        index for index, result in enumerate(results) if {"si_snr"} <= result.noisy.keys() & result.enhanced.keys()
    ]
    places.sort(key=lambda index: results[index].enhanced["si_snr"] - results[index].noisy["si_snr"])
    if not places:
        return
    network, examples = load_model(model), FixedExamples(Manifest.load(manifest), split)
    chosen = {"smallest": places[0], "middle": places[len(places) // 2], "largest": places[-1]}
    for name, index in chosen.items():
        result, (noisy, clean) = results[index], examples[index]
        snr = "" if result.snr_db is None else f", {result.snr_db:g} dB"
        titles = (
            f"{result.name}, {result.label or 'unknown noise'}{snr}: SI-SNR {result.noisy['si_snr']:.1f} dB",
            f"enhanced: SI-SNR {result.enhanced['si_snr']:.1f} dB",
            "clean",
        )
        waveforms = dict(zip(titles, (noisy, enhance(network, noisy), clean), strict=True))
        plot_spectrograms(waveforms, folder / f"spectrograms_{name}_gain.png")
