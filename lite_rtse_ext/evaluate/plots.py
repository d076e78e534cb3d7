"""Plots of results: gains by SNR and by kind of noise, metrics of every recording, and spectrograms."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lite_rtse_ext.audio.spectrogram import stft
from lite_rtse_ext.evaluate.metrics import UNITS
from lite_rtse_ext.evaluate.result import Result, figures_of
from lite_rtse_ext.evaluate.summary import by
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.atomic_file import replacing

__all__ = ["plot_gains", "plot_recordings", "plot_spectrograms"]

_FLOOR_DB, _CEILING_DB = -60.0, 30.0


def _figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # not pyplot, which would change the program's GUI backend

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _literal(text: str) -> str:
    """Return a text that matplotlib shows as it is. It reads text between two dollar signs as a formula."""
    return text.replace("$", r"\$")


def _save(figure: Any, path: str | os.PathLike[str]) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def plot_gains(results: Sequence[Result], path: str | os.PathLike[str]) -> None:
    """Plot the gain of each metric by SNR (top) and kind of noise (bottom), with 95 % confidence intervals."""
    groups = {"SNR in dB": by(results, lambda r: r.snr_db), "noise": by(results, lambda r: r.label)}
    names = figures_of(results)
    figure, rows = _figure(len(groups), len(names), (4 * len(names), 7))
    for row, (title, summaries) in zip(rows, groups.items(), strict=True):
        for axes, name in zip(row, names, strict=True):
            present = {key: each[name].improvement for key, each in summaries.items() if name in each}
            means = [mean.value for mean in present.values()]
            errors = [(mean.high - mean.low) / 2 if mean.count > 1 else 0.0 for mean in present.values()]
            labels = [f"{key:g}" if isinstance(key, float) else _literal(str(key)) for key in present]
            axes.bar(labels, means, yerr=errors, capsize=4, color="tab:blue")
            axes.axhline(0, color="black", linewidth=0.8)
            axes.set(xlabel=title, ylabel=f"gain: {UNITS[name]}")
            axes.tick_params(axis="x", rotation=90 if len(labels) > 6 else 0)
    _save(figure, path)


def plot_recordings(results: Sequence[Result], path: str | os.PathLike[str]) -> None:
    """Plot the metrics of each recording, enhanced against noisy. Recordings above the line have improved."""
    names = figures_of(results)
    figure, rows = _figure(1, len(names), (4 * len(names), 4.2))
    labels = sorted({result.label or "unknown" for result in results})
    for axes, name in zip(rows[0], names, strict=True):
        for label in labels:
            points = [
                (r.noisy[name], r.enhanced[name])
                for r in results
                if (r.label or "unknown") == label and name in r.noisy and name in r.enhanced
            ]
            if points:
                shown = _literal(f" {label}" if label.startswith("_") else label)  # a legend omits "_rain"
                axes.scatter(*zip(*points, strict=True), s=14, label=shown)
        axes.axline((0, 0), slope=1, color="black", linewidth=0.8)
        axes.set(xlabel=f"noisy: {UNITS[name]}", ylabel="enhanced")
    rows[0][0].legend(fontsize="small")
    _save(figure, path)


def plot_spectrograms(waveforms: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Plot the spectrograms of waveforms ``(samples,)``, 16 kHz, one above the other, on a common scale."""
    figure, rows = _figure(len(waveforms), 1, (10, 2.7 * len(waveforms)), sharex=True)
    for axes, (title, waveform) in zip(rows[:, 0], waveforms.items(), strict=True):
        level_db = 20 * torch.log10(stft(waveform).abs().clamp_min(1e-5))
        extent = (0, len(waveform) / SAMPLE_RATE_HZ, 0, SAMPLE_RATE_HZ / 2000)
        image = axes.imshow(
            np.asarray(level_db), origin="lower", aspect="auto", extent=extent, vmin=_FLOOR_DB, vmax=_CEILING_DB,
            cmap="magma",
        )  # fmt: skip
        axes.set(title=_literal(title), ylabel="frequency in kHz")
    rows[-1, 0].set_xlabel("time in seconds")
    figure.colorbar(image, ax=list(rows[:, 0]), label="level in dB")
    _save(figure, path)
