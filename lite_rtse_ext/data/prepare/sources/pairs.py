"""``lite-rtse prepare pairs``: the user's own noisy recordings, each with a clean recording of the same name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import click
import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import AudioError, read_format
from lite_rtse_ext.data.manifest import Manifest, ManifestError, Pair
from lite_rtse_ext.data.prepare.batch import is_current
from lite_rtse_ext.data.prepare.command import REFUSE, TARGET, TEST_SHARE, VALID_SHARE, summarize
from lite_rtse_ext.data.prepare.convert import FULL_SCALE_PEAK, decode, write_flac
from lite_rtse_ext.data.prepare.cutting import CUT_FRAMES, utterances
from lite_rtse_ext.data.prepare.faults import delay, pair_fault, silence
from lite_rtse_ext.data.prepare.find import find_audio
from lite_rtse_ext.data.prepare.splits import Shares, Splits, divide_speech, speakers_of
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.file_names import file_name, plain, target_path
from lite_rtse_ext.utils.listing import listed
from lite_rtse_ext.utils.path_name import PathName
from lite_rtse_ext.utils.workers import Lost, run_in_order

__all__ = ["pairs", "prepare_pairs"]

_SIDES = ("noisy", "clean")
_APART = SAMPLE_RATE_HZ // 2000
"""Delay of a noisy recording in samples from which on it is reported."""

Report = Callable[[str], None]
_Samples = NDArray[np.float32]


@dataclass(frozen=True)
class _Job:
    """Two files of the same name, and the folder to fill."""

    name: PurePath
    noisy: Path
    clean: Path
    target: Path


@dataclass(frozen=True)
class _Part:
    """A stretch of both recordings.

    Its fields are the path below the folder of each side, the length in samples, and whether one side is silent.
    """

    path: PurePath
    frames: int
    silent: bool


@dataclass(frozen=True)
class _Converted:
    """The parts of two recordings, and the delay of the noisy one in samples."""

    parts: list[_Part]
    delay: int


def prepare_pairs(
    target: Path,
    *,
    noisy: Path,
    clean: Path,
    shares: Shares | None = None,
    refuse: bool = False,
    report: Report = print,
) -> Manifest:
    """Convert two folders whose files have the same names except for their suffixes, and write ``manifest.json``.

    A pair is left out if its recordings differ in length or sample rate. It is also left out if they are swapped,
    equal, unrelated or silent. Noisy recordings that are late or early are used and named. The folders identify the
    speakers, and each speaker is in one split, as in
    :func:`~lite_rtse_ext.data.prepare.sources.folders.prepare_folders`. Pairs of 20 s and more are cut at the pauses of
    the clean recording.

    Args:
        target: the folder to fill. It is created if it doesn't exist.
        noisy: folder of noisy recordings.
        clean: folder of the same speech without noise.
        shares: shares of validation and test, of the speakers or pairs.
        refuse: stop at a pair that has a fault. Otherwise the pair is reported and left out.
        report: function that is called with one line about each step and each fault.

    Returns:
        The manifest that was written.

    Raises:
        OSError: a folder can't be read or written.
        ManifestError: the folders have no names in common, or every pair has a fault. Or a folder is one that would be
            filled.
        AudioError: a pair has a fault, and ``refuse`` is set.
    """
    shares = shares or Shares()
    jobs = _jobs(noisy, clean, target, refuse, report)
    parts = _convert(jobs, refuse, report)
    if not parts:
        raise ManifestError(f"{noisy} and {clean}: every pair was left out, for the reasons above")
    speakers, rule = speakers_of([job.name for job in jobs])
    speakers = {name: speakers[name] for name in parts}
    splits = _divide(speakers, parts, shares, f"speech: {rule}", report)
    names = _names([part.path for own in parts.values() for part in own])
    pairs = [
        Pair(
            names[part.path],
            splits[name],
            PurePath("noisy", part.path).as_posix(),
            PurePath("clean", part.path).as_posix(),
            part.frames,
            plain(speakers[name], keep="/"),
        )
        for name, own in parts.items()
        for part in own
    ]
    manifest = Manifest(target, "pairs", pairs=tuple(pairs))
    manifest.save(target / "manifest.json")
    return manifest


def _jobs(noisy: Path, clean: Path, target: Path, refuse: bool, report: Report) -> list[_Job]:
    """Make a job for each name that both folders have."""
    if noisy.resolve() == clean.resolve():
        raise ManifestError(f"{noisy}: is given as the folder of noisy and of clean recordings")
    sides = [_by_name(folder, target, report) for folder in (noisy, clean)]
    for folder, own, other in ((noisy, sides[0], sides[1]), (clean, sides[1], sides[0])):
        alone = sorted(str(own[name]) for name in own.keys() - other.keys())
        if alone:
            _fault(f"{folder}: without a partner: {listed(alone)}", refuse, report)
    both = sorted(sides[0].keys() & sides[1].keys())
    if not both:
        raise ManifestError(f"{noisy} and {clean}: expected files of the same names, suffixes aside, got none")
    return [_Job(name, noisy / sides[0][name], clean / sides[1][name], target) for name in both]


def _by_name(folder: Path, target: Path, report: Report) -> dict[PurePath, PurePath]:
    """Find the files of a folder, by their path without a suffix. Further files of the same path are reported."""
    found: dict[PurePath, list[PurePath]] = defaultdict(list)
    for path in find_audio(folder, target, _SIDES, report):
        relative = path.relative_to(folder)
        found[relative.with_suffix("")].append(relative)
    for paths in found.values():
        for other in paths[1:]:
            report(f"left out: {folder / other}: has the name of {paths[0]}")
    return {name: paths[0] for name, paths in found.items()}


def _fault(message: str, refuse: bool, report: Report) -> None:
    if refuse:
        raise AudioError(message)
    report(f"left out: {message}")


def _convert(jobs: Sequence[_Job], refuse: bool, report: Report) -> dict[PurePath, list[_Part]]:
    """Convert the pairs, and return the parts of each pair that has no fault."""
    found, apart = {}, []
    for job, result in zip(jobs, run_in_order(_attempt, jobs), strict=True):
        if isinstance(result, Lost):
            result = result.reason
        if isinstance(result, str):
            _fault(f"{job.noisy}: {result}", refuse, report)
            continue
        found[job.name] = [part for part in result.parts if not part.silent]
        silent = len(result.parts) - len(found[job.name])
        if silent:
            report(f"left out: {silent} of {len(result.parts)} parts of {job.noisy}, where one side is silent")
        if found[job.name] and abs(result.delay) >= _APART:
            apart.append(f"{job.noisy} by {1000 * result.delay / SAMPLE_RATE_HZ:+.1f} ms")
    if apart:
        report(
            f"{len(apart)} of {len(found)} noisy recordings are late (+) or early (-), and a network learns little "
            f"from them: {listed(apart)}"
        )
    return found


def _attempt(job: _Job) -> _Converted | str:
    try:
        return _convert_one(job)
    except AudioError as error:
        return str(error)
    except OSError as error:
        if error.filename is None or Path(error.filename) not in (job.noisy, job.clean):
            raise
        return f"{error.filename}: {error.strerror}"


def _convert_one(job: _Job) -> _Converted | str:
    rates = [_rate(path) for path in (job.noisy, job.clean)]
    if rates[0] != rates[1]:
        return f"has {rates[0]} Hz, its clean one {rates[1]} Hz"
    noisy, clean = decode(job.noisy), decode(job.clean)
    if len(noisy) != len(clean):
        return f"has {len(noisy)} samples at 16 kHz, its clean one {len(clean)}"
    fault = pair_fault(noisy, clean)
    if fault is not None:
        return fault
    peak = max(float(np.abs(samples).max()) for samples in (noisy, clean))
    if peak > FULL_SCALE_PEAK:  # both are scaled by the same factor
        noisy, clean = (samples * np.float32(FULL_SCALE_PEAK / peak) for samples in (noisy, clean))
    bounds = utterances(clean) if len(clean) >= CUT_FRAMES else [(0, len(clean))]
    parts = [
        _write(job, f".{number:04}" if len(bounds) > 1 else "", noisy[first:last], clean[first:last])
        for number, (first, last) in enumerate(bounds)
    ]
    return _Converted(parts, delay(noisy, clean))


def _rate(path: Path) -> int | None:
    return None if path.suffix.lower() == ".g722" else read_format(path).sample_rate


def _write(job: _Job, mark: str, noisy: _Samples, clean: _Samples) -> _Part:
    path = target_path(job.name, f"{mark}.flac")
    silent = any(silence(samples) is not None for samples in (noisy, clean))
    for side, source, samples in zip(_SIDES, (job.noisy, job.clean), (noisy, clean), strict=True):
        to = job.target / side / path
        if not silent and not is_current(source, to, len(samples)):
            to.parent.mkdir(parents=True, exist_ok=True)
            write_flac(to, samples)
    return _Part(path, len(noisy), silent)


def _divide(
    speakers: Mapping[PurePath, str],
    parts: Mapping[PurePath, Sequence[_Part]],
    shares: Shares,
    rule: str,
    report: Report,
) -> dict[PurePath, str]:
    """Choose one split for each pair. Pairs that are too few to fill every split are for training."""
    sizes = {name: sum(part.frames for part in own) for name, own in parts.items()}
    splits: Mapping[PurePath, Splits]
    splits, how = divide_speech(speakers, sizes, shares)
    report(f"{rule}; divided {how}")
    if all(len(own) == 1 for own in splits.values()):
        return {name: own[0] for name, own in splits.items()}
    report(f"{len(parts)} pairs are too few to keep some for {' and '.join(shares.held_out)}")
    return {name: own[0] if len(own) == 1 else "train" for name, own in splits.items()}


def _names(paths: Sequence[PurePath]) -> dict[PurePath, str]:
    """Return a file name for each path. No two paths get the same name."""
    joined = {path: "-".join(path.with_suffix("").parts) for path in paths}
    count = Counter(joined.values())
    unique = {path: name if count[name] == 1 else path.with_suffix("").as_posix() for path, name in joined.items()}
    return {path: file_name(name) for path, name in unique.items()}


@click.command()
@click.option("--noisy", type=PathName(), required=True, help="Folder of noisy recordings.")
@click.option("--clean", type=PathName(), required=True, help="Folder of the same speech, clean.")
@TARGET
@VALID_SHARE
@TEST_SHARE
@REFUSE
def pairs(noisy: Path, clean: Path, target: Path, valid_share: float, test_share: float, refuse_damaged: bool) -> None:
    """Your own noisy recordings with their clean ones: two folders with files of the same names, in any formats.

    Pairs that differ in length or rate, that are swapped, the same, unrelated or silent are named and left out. First
    sub-folders tell speakers, and a speaker is in one split only, where there are several.

    \b
    lite-rtse prepare pairs --noisy noisy/ --clean clean/ --out mine
    """
    shares = Shares(valid_share, test_share)
    summarize(prepare_pairs(target, noisy=noisy, clean=clean, shares=shares, refuse=refuse_damaged, report=click.echo))
