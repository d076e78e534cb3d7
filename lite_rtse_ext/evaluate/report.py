"""The output folder of ``lite-rtse evaluate --out``: tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lite_rtse_ext.enhance.waveform import enhance_waveform, usual_segment
from lite_rtse_ext.evaluate.load import load_model
from lite_rtse_ext.evaluate.metrics import UNITS
from lite_rtse_ext.evaluate.plots import plot_gains, plot_recordings, plot_spectrograms
from lite_rtse_ext.evaluate.result import Result, figures_of, write_csv
from lite_rtse_ext.evaluate.sources import Source
from lite_rtse_ext.evaluate.summary import write_json

__all__ = ["write_report"]


def write_report(results: Sequence[Result], model: Path, source: Source, folder: Path, about: dict[str, Any]) -> None:
    """Write tables and plots.

    Args:
        results: the results of :func:`lite_rtse_ext.evaluate.run.evaluate`.
        model: path of the evaluated model.
        source: the recordings of the evaluation.
        folder: an existing folder.
        about: entries that are copied into the summary unchanged.
    """
    write_csv(results, folder / "recordings.csv")
    write_json(results, folder / "summary.json", about)
    if not figures_of(results):
        return
    if any((result.snr_db, result.label) != (None, None) for result in results):
        plot_gains(results, folder / "gains.png")
    plot_recordings(results, folder / "recordings.png")
    _plot_examples(results, model, source, folder)


def _plot_examples(results: Sequence[Result], model: Path, source: Source, folder: Path) -> None:
    """Plot spectrograms of the recordings with the smallest, the median and the largest gain."""
    figure = next(name for name in ("si_snr", "dnsmos_ovrl") if name in figures_of(results))
    places = [index for index, result in enumerate(results) if figure in result.noisy.keys() & result.enhanced.keys()]
    places.sort(key=lambda index: results[index].enhanced[figure] - results[index].noisy[figure])
    if not places:
        return
    network = load_model(model)
    for name, index in {"smallest": places[0], "middle": places[len(places) // 2], "largest": places[-1]}.items():
        result, (noisy, clean) = results[index], source.load(index)
        known = [result.label or "", "" if result.snr_db is None else f"{result.snr_db:g} dB"]
        title = ", ".join([result.name, *filter(None, known)])
        before = torch.from_numpy(noisy)
        waveforms = {
            f"{title}: {UNITS[figure]} {result.noisy[figure]:.1f}": before,
            f"enhanced: {UNITS[figure]} {result.enhanced[figure]:.1f}": enhance_waveform(
                network, before, segment_frames=usual_segment(network)
            ),
        }
        if clean is not None:
            waveforms["clean"] = torch.from_numpy(clean)
        plot_spectrograms(waveforms, folder / f"spectrograms_{name}_gain.png")
