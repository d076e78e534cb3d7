"""Evaluation of a network, recording by recording, in several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lite_rtse_ext.audio.formats import CONTAINERS
from lite_rtse_ext.audio.io import AudioFormat, write
from lite_rtse_ext.enhance.waveform import enhance_waveform, usual_segment
from lite_rtse_ext.evaluate.dnsmos import Dnsmos
from lite_rtse_ext.evaluate.figures import figures
from lite_rtse_ext.evaluate.journal import Journal, stamp
from lite_rtse_ext.evaluate.load import load_model
from lite_rtse_ext.evaluate.metrics import MetricError, SilenceError, require_noise, require_sound
from lite_rtse_ext.evaluate.result import Result
from lite_rtse_ext.evaluate.sources import Entry, MakeSource
from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models.registry import register, registered
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.cores import cores
from lite_rtse_ext.utils.file_names import unique_paths
from lite_rtse_ext.utils.workers import Lost, run_tasks

__all__ = ["evaluate"]

_Samples = NDArray[np.float32]


def evaluate(
    model_path: Path,
    make_source: MakeSource,
    *,
    jobs: int | None = None,
    opinions: bool = True,
    audio: Path | None = None,
    journal: Journal | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """Evaluate a network.

    Args:
        model_path: any path that :func:`lite_rtse_ext.evaluate.load.load_model` reads.
        make_source: returns the recordings, a source of :mod:`lite_rtse_ext.evaluate.sources`.
        jobs: number of processes. By default one for each core that this process may use.
        opinions: whether to compute the DNSMOS scores.
        audio: folder for the enhanced recordings; None does not write them.
        journal: receives each result as it arrives, and holds the results of an interrupted run.
        progress: called with the number of finished recordings and the total number.

    Returns:
        One result for every recording, in the order of the source. Faulty recordings are included, with their errors.

    Raises:
        OSError, ValueError: the model or the source is faulty, or an enhanced recording would replace a recording.
    """
    entries = make_source().entries
    rate = load_model(model_path).signal.sample_rate  # a faulty model raises here, once
    if rate != SAMPLE_RATE_HZ:
        raise ValueError(
            f"{model_path}: expected a network for {SAMPLE_RATE_HZ} Hz, as the recordings are, got one for {rate} Hz"
        )
    stamps = [stamp(map(Path, entry.files)) for entry in entries]
    paths = unique_paths([entry.name for entry in entries], ".wav", CONTAINERS)
    targets = [None if audio is None else audio / path for path in paths]
    _refuse_replacing(entries, filter(None, targets))
    results: dict[int, Result] = {}
    for index, (entry, target) in enumerate(zip(entries, targets, strict=True)):
        kept = journal.result(entry.name, stamps[index]) if journal is not None else None
        if kept is not None and (target is None or target.exists()):
            results[index] = kept
    waiting = [index for index in range(len(entries)) if index not in results]
    jobs = max(1, min(jobs or cores(), len(waiting)))
    set_up = partial(_Judge, model_path, make_source, targets, opinions, max(1, cores() // jobs), registered())
    for index, outcome in run_tasks(set_up, waiting, jobs):
        results[index] = _refused(entries[index], outcome.reason) if isinstance(outcome, Lost) else outcome
        if journal is not None:
            journal.add(results[index], stamps[index])
        if progress:
            progress(len(results), len(entries))
    return [results[index] for index in range(len(entries))]


def _refuse_replacing(entries: Iterable[Entry], targets: Iterable[Path]) -> None:
    inputs = {os.path.realpath(path) for entry in entries for path in entry.files}
    for target in targets:
        if os.path.realpath(target) in inputs:
            raise ValueError(f"{target}: is a recording itself, which is never replaced; give another --out")


def _refused(entry: Entry, reason: str, seconds: float = 0.0) -> Result:
    return Result(entry.name, entry.label, entry.snr_db, seconds, errors=(reason,))


class _Judge:
    """State of one worker process. Called with the index of a recording, it evaluates this recording."""

    def __init__(
        self,
        model: Path,
        make_source: MakeSource,
        targets: Sequence[Path | None],
        opinions: bool,
        threads: int,
        networks: Sequence[type[SpectrogramModel]] = (),
    ) -> None:
        torch.set_num_threads(threads)
        for network in networks:
            register(network)
        self._model = load_model(model)
        self._source = make_source()
        self._targets = targets
        self._dnsmos = Dnsmos() if opinions else None

    def __call__(self, index: int) -> Result:
        entry = self._source.entries[index]
        try:
            noisy, clean = self._source.load(index)
        except (OSError, ValueError) as error:  # a missing or damaged file
            return _refused(entry, str(error))
        seconds = len(noisy) / SAMPLE_RATE_HZ
        try:
            _check(entry, noisy, clean)
            segment = usual_segment(self._model)
            enhanced = enhance_waveform(self._model, torch.from_numpy(noisy), segment_frames=segment).numpy()
        except (ArithmeticError, MemoryError, RuntimeError, ValueError) as error:
            return _refused(entry, str(error) or type(error).__name__, seconds)
        target = self._targets[index]
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            write(target, enhanced[:, None], AudioFormat(SAMPLE_RATE_HZ, 1, "WAV", "PCM_16"))
        before, faults = figures(noisy, clean, self._dnsmos)
        errors = [f"noisy {fault}" for fault in faults]
        try:
            after, faults = figures(enhanced, clean, self._dnsmos)
        except SilenceError:
            errors.append("the enhanced recording is silent")
            return Result(entry.name, entry.label, entry.snr_db, seconds, before, {}, tuple(errors), silent=True)
        errors += [f"enhanced {fault}" for fault in faults]
        return Result(entry.name, entry.label, entry.snr_db, seconds, before, after, tuple(errors))


def _check(entry: Entry, noisy: _Samples, clean: _Samples | None) -> None:
    """Check that a recording can be evaluated.

    Raises:
        MetricError: it cannot. The message names the files of the recording.
    """
    try:
        require_sound(noisy)
        if clean is not None:
            require_noise(noisy, clean)
    except SilenceError as error:
        raise MetricError(f"the noisy recording is silent ({', '.join(entry.files)})") from error
    except MetricError as error:
        raise MetricError(f"{error} ({', '.join(entry.files)})") from error
