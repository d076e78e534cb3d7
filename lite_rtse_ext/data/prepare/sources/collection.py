"""``lite-rtse prepare collection``: a folder of recordings with a table that describes them."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

import click

from lite_rtse_ext.data.manifest import KINDS, Clip, Manifest, ManifestError
from lite_rtse_ext.data.prepare.assemble import Converted, Recording, clips_of, convert_recordings, require_sound
from lite_rtse_ext.data.prepare.command import (
    MIXTURES,
    ONLY_LICENSE,
    REFUSE,
    TARGET,
    TEST_SHARE,
    VALID_SHARE,
    summarize,
)
from lite_rtse_ext.data.prepare.licenses import with_licenses
from lite_rtse_ext.data.prepare.mixtures import mixtures_of
from lite_rtse_ext.data.prepare.splits import UNKNOWN, Shares, Splits, assign, divide_speech
from lite_rtse_ext.data.rules import file as file_rule
from lite_rtse_ext.data.rules import shown
from lite_rtse_ext.utils.path_name import PathName

__all__ = ["TABLE", "CollectionOptions", "collection", "prepare_collection"]

TABLE = "manifest.csv"
_KIND = {"speech": "speech", "noise": "noise", "rir": "room"}
_FREESOUND = re.compile(r"fs\d+")
"""Prefix that the names of all files from one recording of freesound.org share."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class CollectionOptions:
    """Which recordings are used, and how they are divided.

    Args:
        shares: shares of validation and test, of the speakers and of the recordings of noise.
        leave_out: patterns in the syntax of file name patterns. Rows whose label, speaker or language matches a pattern
            are left out.
        only_license: patterns in the same syntax. Rows whose license matches none of them are left out. By default all
            licenses are allowed. The license of a row without one is "unknown".
        mixtures: number of fixed mixtures for validation, and for the test.
        snrs_db: signal-to-noise ratios of the fixed mixtures in dB.
        refuse: stop at a damaged or silent file. Otherwise the file is reported and left out.
    """

    shares: Shares = field(default_factory=Shares)
    leave_out: tuple[str, ...] = ()
    only_license: tuple[str, ...] = ()
    mixtures: int = 60
    snrs_db: tuple[float, ...] = (-5.0, 0.0, 5.0, 10.0, 15.0)
    refuse: bool = False


@dataclass(frozen=True)
class _Entry:
    """A row of the table: its recording, its group (a speaker or a recording of noise), and its stratum.

    The stratum of a speaker is the source and the gender. All noise has one stratum.
    """

    recording: Recording
    group: str
    stratum: str


def prepare_collection(
    target: Path, folder: Path, *, options: CollectionOptions | None = None, report: Report = print
) -> Manifest:
    """Convert the files that ``manifest.csv`` in a folder lists, and write ``manifest.json``.

    Every row must have the columns path and kind (speech, noise or rir). The columns source, speaker, language, gender,
    label and license (or licence) are optional. Other columns are ignored. Each speaker and each recording of noise is
    in one split only, so validation and test share none with training. If they are fewer than the splits, they are
    divided or cut; see :func:`~lite_rtse_ext.data.prepare.splits.divide_speech`. Each split has about the same
    proportions of sources and genders among its speakers. No speaker has many more fixed mixtures than another.

    Args:
        target: the folder to fill. It is created if it doesn't exist.
        folder: the folder of the collection.
        options: which recordings are used, and how they are divided.
        report: function that is called with one line about each step and each fault.

    Returns:
        The manifest that was written.

    Raises:
        OSError: the table can't be read, or a folder can't be written to.
        ManifestError: the table does not have this form, or lists too few recordings.
        AudioError: a file is damaged or silent, and ``options.refuse`` is set.
    """
    options = options or CollectionOptions()
    entries = list(_entries(folder, options, report))
    entries = with_licenses(entries, options.only_license, lambda each: each.recording.license, report)
    for kind in ("speech", "noise"):
        require_sound(kind, folder, [each.recording.source for each in entries if each.recording.kind == kind])
    recordings = [each.recording for each in entries]
    converted = convert_recordings(recordings, target, refuse=options.refuse, report=report)
    by_name = {each.recording.name: each for each in entries}
    clips: list[Clip] = []
    for kind in KINDS:
        own = [each for each in converted if each.recording.kind == kind]
        if own:
            splits = _divide(kind, own, by_name, options.shares, report)
            clips += clips_of(own, splits, target, options.shares, report)
    held_out = tuple(options.shares.held_out)
    mixtures = mixtures_of(
        target,
        _even_voices(clips, options.mixtures),
        held_out,
        snrs_db=options.snrs_db,
        count=options.mixtures,
        report=report,
    )
    manifest = Manifest(target, "collection", tuple(clips), mixtures)
    manifest.save(target / "manifest.json")
    return manifest


def _entries(folder: Path, options: CollectionOptions, report: Report) -> Iterator[_Entry]:
    """Yield the rows that are used.

    The rows that a pattern leaves out are counted. Rows without a file, and repeated rows, are reported one by one.
    """
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    for number, row in _rows(folder / TABLE):
        path, kind = row["path"], row["kind"]
        what = f"{folder / TABLE}:{number}"
        if not file_rule.holds(path):
            raise ManifestError(f"{what}: path: expected {file_rule.expected}, got {shown(path)}")
        if kind not in _KIND:
            raise ManifestError(f"{what}: kind: expected one of {', '.join(_KIND)}, got {shown(kind)}")
        pattern = _pattern(row, options.leave_out)
        if pattern is not None:
            left_out[pattern] += 1
        elif path in seen:
            report(f"left out: {what}: {path} is listed twice")
        elif not (folder / path).is_file():
            report(f"left out: {folder / path}: no such file")
        else:
            seen.add(path)
            yield _entry(folder, row)
    for pattern in options.leave_out:
        report(f"left out: {left_out[pattern]} rows with a label, speaker or language like {pattern}")


def _pattern(row: Mapping[str, str], patterns: Sequence[str]) -> str | None:
    values = [row[column] for column in ("label", "speaker", "language") if row[column]]
    return next((each for each in patterns if any(fnmatchcase(value, each) for value in values)), None)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row with the number of its line. A column that is missing is an empty text."""
    columns = ("path", "kind", "source", "speaker", "language", "gender", "label", "license")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = {"path", "kind"} - set(reader.fieldnames or ())
            if missing:
                raise ManifestError(f"{path}: expected columns path and kind, lacks {', '.join(sorted(missing))}")
            for row in reader:
                row.setdefault("license", row.get("licence"))
                values = {column: (row.get(column) or "").strip() for column in columns}
                if any(values.values()):  # spreadsheets write rows of commas for lines that are empty
                    yield reader.line_num, values
    except (csv.Error, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not a table of comma-separated values ({error})") from error


def _entry(folder: Path, row: Mapping[str, str]) -> _Entry:
    kind, name = _KIND[row["kind"]], PurePath(row["path"])
    speaker = row["speaker"] or f"{row['source']}/{UNKNOWN}"
    label = speaker if kind == "speech" else row["label"] or name.parent.name or UNKNOWN
    recording = Recording(kind, folder / name, name, label, row["license"] or UNKNOWN, row["source"] or str(folder))
    if kind == "speech":
        return _Entry(recording, speaker, f"{row['source']} {row['gender']}")
    freesound = _FREESOUND.match(name.stem)
    return _Entry(recording, freesound[0] if freesound else row["path"], "")


def _divide(
    kind: str, converted: Sequence[Converted], entries: Mapping[PurePath, _Entry], shares: Shares, report: Report
) -> dict[PurePath, Splits]:
    names = {each.recording.name: each for each in converted}
    if kind == "room":
        return dict.fromkeys(names, ("train",))
    sizes: Counter[str] = Counter()
    strata: dict[str, str] = {}
    for name, each in names.items():
        group = entries[name].group
        sizes[group] += each.frames
        strata[group] = entries[name].stratum
    if len(sizes) < len(shares.splits):  # not even one for each split
        what = "speakers" if kind == "speech" else "recordings"
        report(f"{kind}: {len(sizes)} {what} are too few for {len(shares.splits)} splits: what each split has is cut")
        groups = {name: entries[name].group for name in names}
        return divide_speech(groups, {name: each.frames for name, each in names.items()}, shares)[0]
    split_of = _by_stratum(sizes, strata, shares)
    counts = Counter(split_of.values())
    what = "speakers" if kind == "speech" else "recordings of noise"
    report(f"{what}: " + ", ".join(f"{counts[split]} for {split}" for split in shares.splits))
    return {name: (split_of[entries[name].group],) for name in names}


def _by_stratum(sizes: Mapping[str, int], strata: Mapping[str, str], shares: Shares) -> dict[str, str]:
    """Assign groups to splits, with the same shares in each stratum that is large enough. Small strata are merged."""
    many = max(math.ceil(1 / share) for share in shares.held_out.values()) if shares.held_out else 1
    large = {stratum for stratum, count in Counter(strata.values()).items() if count >= many}
    together: dict[str, dict[str, int]] = defaultdict(dict)
    for group, size in sizes.items():
        together[strata[group] if strata[group] in large else ""][group] = size
    split_of: dict[str, str] = {}
    for own in together.values():
        split_of |= assign(own, shares) if len(own) >= len(shares.splits) else dict.fromkeys(own, "train")
    return split_of


def _even_voices(clips: Sequence[Clip], mixtures: int) -> list[Clip]:
    """Limit the speech clips of each speaker, so that the speakers of a split get about equally many mixtures."""
    taken: Counter[tuple[str, str]] = Counter()
    voices = {(clip.split, clip.label) for clip in clips if clip.kind == "speech"}
    speakers = Counter(split for split, _ in voices)
    kept = []
    for clip in clips:
        if clip.kind == "speech":
            taken[clip.split, clip.label] += 1
            if taken[clip.split, clip.label] > math.ceil(mixtures / speakers[clip.split]):
                continue
        kept.append(clip)
    return kept


@click.command()
@click.argument("folder", type=PathName())
@TARGET
@click.option(
    "--leave-out", multiple=True, metavar="PATTERN", help="Label, speaker or language not to take, such as 'rain*'."
)
@ONLY_LICENSE
@VALID_SHARE
@TEST_SHARE
@MIXTURES
@REFUSE
def collection(
    folder: Path,
    target: Path,
    leave_out: tuple[str, ...],
    only_license: tuple[str, ...],
    valid_share: float,
    test_share: float,
    mixtures: int,
    refuse_damaged: bool,
) -> None:
    """A FOLDER of speech, noise and room responses that its manifest.csv describes.

    Columns: path and kind (speech, noise or rir), and where known source, speaker, language, gender, label and license.
    Validation and test have speakers and noises that training has not.

    \b
    lite-rtse prepare collection recordings/ --leave-out 'rain*' --leave-out train --out mine
    lite-rtse prepare collection recordings/ --only-license 'CC0*' --only-license 'CC BY [34]*' --out free
    """
    shares = Shares(valid_share, test_share)
    options = CollectionOptions(shares, leave_out, only_license, mixtures=mixtures, refuse=refuse_damaged)
    summarize(prepare_collection(target, folder, options=options, report=click.echo))
