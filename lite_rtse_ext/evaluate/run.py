"""Judging a network on the fixed mixtures of a manifest, on several cores."""

from __future__ import annotations

import csv
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from lite_rtse_ext.audio.high_pass import remove_offset
from lite_rtse_ext.audio.io import AudioFormat, write
from lite_rtse_ext.audio.stft import SAMPLE_RATE_HZ, istft, stft
from lite_rtse_ext.data.dataset import FixedExamples
from lite_rtse_ext.data.manifest import Manifest
from lite_rtse_ext.evaluate.metrics import METRICS, MetricError, measure
from lite_rtse_ext.evaluate.models import load_model
from lite_rtse_ext.files import replacing

__all__ = ["Result", "enhance", "evaluate", "write_csv"]


@dataclass(frozen=True)
class Result:
    """One recording: its figures before and after, and what went wrong.

    Args:
        name: of the mixture or pair.
        label: its kind of noise, if known.
        snr_db: of the mixture, if known.
        seconds: its length.
        noisy: figures of the input by metric; one that can't be computed is missing.
        enhanced: the same of the output.
        errors: what was in the way of those.
    """

    name: str
    label: str | None
    snr_db: float | None
    seconds: float
    noisy: dict[str, float] = field(default_factory=dict)
    enhanced: dict[str, float] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


@torch.no_grad()
def enhance(model: nn.Module, noisy: torch.Tensor, *, high_pass: bool = True) -> torch.Tensor:
    """The enhanced waveform of a noisy one, ``(samples,)``, through a network from spectrogram to spectrogram, behind
    the same high-pass as in use."""
    heard = remove_offset(noisy) if high_pass else noisy
    enhanced = model(torch.view_as_real(stft(heard[None])))
    return istft(torch.view_as_complex(enhanced.float().contiguous()), len(noisy))[0]


def evaluate(
    model_path: Path,
    manifest_path: Path,
    split: str = "test",
    *,
    jobs: int | None = None,
    audio: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """Judge a network on a split.

    Args:
        model_path: what :func:`lite_rtse_ext.evaluate.models.load_model` reads.
        manifest_path: the data.
        split: valid or test.
        jobs: processes; by default the number of CPUs.
        audio: folder for the enhanced recordings, if wanted.
        progress: is called with the number of recordings done, and of all.

    Returns:
        A result for every mixture and pair, in the manifest's order; faulty ones are among them, with their errors.

    Raises:
        OSError, ManifestError, CheckpointError: what is wrong with the model or the manifest.
    """
    count = len(FixedExamples(Manifest.load(manifest_path), split))
    load_model(model_path)  # what is wrong with it is said here, once
    jobs = min(jobs or os.cpu_count() or 1, count)
    results = []
    for result in _results(model_path, manifest_path, split, audio, jobs, count):
        results.append(result)
        if progress:
            progress(len(results), count)
    return results


def _results(
    model_path: Path, manifest_path: Path, split: str, audio: Path | None, jobs: int, count: int
) -> Iterator[Result]:
    arguments = (model_path, manifest_path, split, audio, max(1, (os.cpu_count() or 1) // jobs))
    context = multiprocessing.get_context("spawn")  # forked children of a process that ran torch can hang
    with ProcessPoolExecutor(jobs, context, _start_worker, arguments) as pool:
        try:
            yield from pool.map(_judge, range(count))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Worker:
    """What a process keeps between recordings."""

    model: nn.Module
    examples: FixedExamples
    audio: Path | None


def _start_worker(model_path: Path, manifest_path: Path, split: str, audio: Path | None, threads: int) -> None:
    torch.set_num_threads(threads)
    _Worker.model = load_model(model_path)
    _Worker.examples = FixedExamples(Manifest.load(manifest_path), split)
    _Worker.audio = audio


def _judge(index: int) -> Result:
    entry = _Worker.examples.entries[index]
    try:
        noisy, clean = _Worker.examples[index]
    except (OSError, ValueError) as error:  # a missing or damaged file
        return Result(entry.name, entry.label, entry.snr_db, 0.0, errors=(str(error),))
    enhanced = enhance(_Worker.model, noisy)
    if _Worker.audio is not None:
        target = _Worker.audio / f"{entry.name}.wav"
        write(target, enhanced[:, None].numpy(), AudioFormat(SAMPLE_RATE_HZ, 1, "WAV", "PCM_16"))
    figures: dict[str, dict[str, float]] = {"noisy": {}, "enhanced": {}}
    errors = []
    for side, estimate in (("noisy", noisy), ("enhanced", enhanced)):
        for name in METRICS:
            try:
                figures[side][name] = measure(name, estimate.numpy(), clean.numpy())
            except MetricError as error:
                errors.append(f"{side} {error}")
    return Result(entry.name, entry.label, entry.snr_db, len(noisy) / SAMPLE_RATE_HZ, **figures, errors=tuple(errors))


def write_csv(results: Sequence[Result], path: str | os.PathLike[str]) -> None:
    """A line for each recording; a figure that couldn't be computed is empty, and the last column says why."""
    columns = [f"{side}_{name}" for name in METRICS for side in ("noisy", "enhanced")]
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
