"""``lite-rtse prepare vctk-demand``: the VCTK-DEMAND corpus (Valentini-Botinhao, 2017) as it was released.

The corpus has 28 speakers for training and two for testing, at 48 kHz. Every noisy file has a clean file of the same
name. The archives unpack to these folders::

    clean_trainset_28spk_wav  noisy_trainset_28spk_wav  clean_testset_wav  noisy_testset_wav

The lists ``log_trainset_28spk.txt`` and ``log_testset.txt`` are optional. They state the noise and SNR of each file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import click

from lite_rtse_ext.data.manifest import Manifest, ManifestError, Pair
from lite_rtse_ext.data.prepare.batch import Conversion, convert_all
from lite_rtse_ext.data.prepare.command import REFUSE, TARGET, summarize
from lite_rtse_ext.utils.listing import listed
from lite_rtse_ext.utils.path_name import PathName

__all__ = ["TEST_UTTERANCES", "TRAIN_UTTERANCES", "VALID_UTTERANCES", "prepare_vctk_demand", "vctk_demand"]

TRAIN_UTTERANCES, TEST_UTTERANCES = 11_572, 824
VALID_UTTERANCES = 1_572
"""Number of training utterances held out for validation. The publication gives the number but not the names.

Here the names with the smallest SHA-256 are held out. They are always the same, and come from all speakers."""

_SETS = {
    "train": ("clean_trainset_28spk_wav", "noisy_trainset_28spk_wav", "log_trainset_28spk.txt", TRAIN_UTTERANCES),
    "test": ("clean_testset_wav", "noisy_testset_wav", "log_testset.txt", TEST_UTTERANCES),
}


def prepare_vctk_demand(
    root: Path, target: Path, *, refuse: bool = False, report: Callable[[str], None] = print
) -> Manifest:
    """Check the folders, convert the files to 16 kHz FLAC, and write ``manifest.json``.

    Args:
        root: the folder with the unpacked archives.
        target: the folder to fill. It is created if it doesn't exist, and grows to about 3 GB.
        refuse: stop at a file that is damaged or has no partner. Otherwise the file is reported and left out.
        report: function that is called with one line about each step and each fault.

    Returns:
        The manifest that was written.

    Raises:
        OSError: a folder can't be read or written.
        ManifestError: folders are missing or hold no pairs of files, or a line of a list can't be read. If ``refuse``
            is set, also: a file has no partner, a pair has unequal lengths, or utterances of the release are missing.
        AudioError: a file is damaged, and ``refuse`` is set.
    """
    _require_folders(root)
    pairs: list[Pair] = []
    for split in _SETS:
        pairs += _prepare_set(split, root, target, refuse, report)
    manifest = Manifest(target, "vctk-demand", pairs=tuple(pairs), notes={"licence": "CC-BY-4.0"})
    manifest.save(target / "manifest.json")
    return manifest


def _require_folders(root: Path) -> None:
    missing = [name for clean, noisy, _, _ in _SETS.values() for name in (clean, noisy) if not (root / name).is_dir()]
    if missing:
        raise ManifestError(f"{root}: lacks {', '.join(missing)}; unpack the corpus's archives there")


def _prepare_set(split: str, root: Path, target: Path, refuse: bool, report: Callable[[str], None]) -> list[Pair]:
    clean_folder, noisy_folder, log, expected = _SETS[split]
    names = _paired_names(root / clean_folder, root / noisy_folder, refuse, report)
    if len(names) != expected:
        message = f"{root}: {len(names)} {split} utterances, where the release has {expected}"
        if refuse:
            raise ManifestError(message)
        report(message)
    known = _read_log(root / log, report)
    held_out = _held_out(names) if split == "train" else frozenset()

    def convert(folder: str) -> list[int | None]:
        jobs = [Conversion(root / folder / f"{name}.wav", target / folder / f"{name}.flac") for name in names]
        return convert_all(jobs, refuse=refuse, report=report)

    pairs = []
    for name, clean, noisy in zip(names, convert(clean_folder), convert(noisy_folder), strict=True):
        if clean is None or noisy is None:
            continue
        if clean != noisy:
            _fault(
                f"{root / noisy_folder / name}.wav: {noisy} samples at 16 kHz, its clean one {clean}", refuse, report
            )
            continue
        label, snr_db = known.get(name, (None, None))
        pairs.append(
            Pair(
                name,
                "valid" if name in held_out else split,
                f"{noisy_folder}/{name}.flac",
                f"{clean_folder}/{name}.flac",
                clean,
                name.partition("_")[0],
                snr_db,
                label,
            )
        )
    return pairs


def _paired_names(clean: Path, noisy: Path, refuse: bool, report: Callable[[str], None]) -> list[str]:
    in_clean, in_noisy = ({path.stem for path in folder.glob("*.wav")} for folder in (clean, noisy))
    for folder, own, others in ((clean, in_clean, in_noisy), (noisy, in_noisy, in_clean)):
        alone = sorted(own - others)
        if alone:
            _fault(f"{folder}: without a partner: {listed(alone)}", refuse, report)
    both = sorted(in_clean & in_noisy)
    if not both:
        raise ManifestError(f"{clean}: no .wav files that {noisy.name} has too")
    return both


def _fault(message: str, refuse: bool, report: Callable[[str], None]) -> None:
    if refuse:
        raise ManifestError(message)
    report(f"left out: {message}")


def _held_out(names: list[str]) -> frozenset[str]:
    """Return the names for validation: :data:`VALID_UTTERANCES` of the whole release, or the same share of a part."""
    count = round(VALID_UTTERANCES * min(1.0, len(names) / TRAIN_UTTERANCES))
    return frozenset(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count])


def _read_log(path: Path, report: Callable[[str], None]) -> dict[str, tuple[str, float]]:
    """Read the noise and the SNR of each utterance. Each line of the list holds name, noise and SNR in dB."""
    if not path.exists():
        report(f"{path.name} is not there: results can't be told apart by noise and SNR")
        return {}
    known = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            name, label, snr_db = fields
            known[name] = (label, float(snr_db))
        except ValueError as error:
            raise ManifestError(f"{path}:{number}: expected name, noise and SNR, got {line!r}") from error
    return known


@click.command()
@click.argument("root", type=PathName())
@TARGET
@REFUSE
def vctk_demand(root: Path, target: Path, refuse_damaged: bool) -> None:
    """The VCTK-DEMAND corpus, whose archives are unpacked in ROOT.

    \b
    lite-rtse prepare vctk-demand VCTK-DEMAND --out vctk-demand
    """
    summarize(prepare_vctk_demand(root, target, refuse=refuse_damaged, report=click.echo))
