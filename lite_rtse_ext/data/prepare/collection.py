"""``lite-rtse prepare collection``: a folder of recordings that a table describes."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from lite_rtse_ext.data.manifest import KINDS, Clip, Manifest, ManifestError
from lite_rtse_ext.data.prepare.assemble import Converted, Recording, clips_of, convert_recordings, require_sound
from lite_rtse_ext.data.prepare.mixtures import mixtures_of
from lite_rtse_ext.data.prepare.splits import UNKNOWN, Shares, Splits, assign, divide_speech
from lite_rtse_ext.data.rules import file as file_rule
from lite_rtse_ext.data.rules import shown

__all__ = ["TABLE", "CollectionOptions", "prepare_collection"]

TABLE = "manifest.csv"
_KIND = {"speech": "speech", "noise": "noise", "rir": "room"}
_FREESOUND = re.compile(r"fs\d+")
"""How the files that come from one recording of freesound.org begin."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class CollectionOptions:
    """What is taken, and how it is divided.

    Args:
        shares: of the speakers and of the recordings of noise, for validation and test.
        leave_out: patterns as in file names; what has a label, speaker or language that one fits is not taken.
        mixtures: number of fixed mixtures of validation and of test.
        snrs_db: of the fixed mixtures.
        refuse: stop at a damaged or silent file; otherwise it is named and left out.
    """

    shares: Shares = field(default_factory=Shares)
    leave_out: tuple[str, ...] = ()
    mixtures: int = 60
    snrs_db: tuple[float, ...] = (-5.0, 0.0, 5.0, 10.0, 15.0)
    refuse: bool = False


@dataclass(frozen=True)
class _Entry:
    """A row of the table, and what it is grouped by: the speaker or the recording, and the kind of speaker."""

    recording: Recording
    group: str
    stratum: str


def prepare_collection(
    target: Path, folder: Path, *, options: CollectionOptions | None = None, report: Report = print
) -> Manifest:
    """Convert what ``manifest.csv`` in a folder lists, and write ``manifest.json``.

    Its columns: path and kind (speech, noise or rir), which every row must have; source, speaker, language, gender,
    label and licence. Others are not looked at. Speakers and recordings of noise are in one split each, so that
    validation and test have none that training has. Sources and genders have their share of the speakers in each split,
    and no speaker has much more fixed mixtures than another.

    Args:
        target: the folder to fill; made if it doesn't exist.
        folder: the collection.
        options: what is taken, and how it is divided.
        report: is called with a line about each step and each fault.

    Raises:
        OSError: the table can't be read, or a folder can't be written to.
        ManifestError: the table is no such table, or lists too little.
        AudioError: a damaged file, if those are refused.
    """
    options = options or CollectionOptions()
    entries = list(_entries(folder, options, report))
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
    """The rows that are taken; those left out are counted, and those without a file are named."""
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
    """Rows with their line; a column that is not there is empty."""
    columns = ("path", "kind", "source", "speaker", "language", "gender", "label", "licence")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = {"path", "kind"} - set(reader.fieldnames or ())
            if missing:
                raise ManifestError(f"{path}: expected columns path and kind, lacks {', '.join(sorted(missing))}")
            for row in reader:
                yield reader.line_num, {column: (row.get(column) or "").strip() for column in columns}
    except (csv.Error, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not a table of comma-separated values ({error})") from error


def _entry(folder: Path, row: Mapping[str, str]) -> _Entry:
    kind, name = _KIND[row["kind"]], PurePath(row["path"])
    speaker = row["speaker"] or f"{row['source']}/{UNKNOWN}"
    label = speaker if kind == "speech" else row["label"] or name.parent.name or UNKNOWN
    recording = Recording(kind, folder / name, name, label, row["licence"] or UNKNOWN, row["source"] or str(folder))
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
    if len(sizes) < len(shares.splits):  # not even one for each
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
    """Splits of groups, their shares the same in each stratum that is large enough; the others are put together."""
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
    """Clips without the speech that would give one speaker more mixtures than others have, where there are enough."""
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
