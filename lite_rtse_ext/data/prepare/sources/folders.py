"""``lite-rtse prepare folders``: the user's own recordings of speech and of noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePath

import click

from lite_rtse_ext.data.manifest import KINDS, Clip, Manifest, ManifestError
from lite_rtse_ext.data.prepare.assemble import Converted, Recording, clips_of, convert_recordings, require_sound
from lite_rtse_ext.data.prepare.command import MIXTURES, REFUSE, TARGET, TEST_SHARE, VALID_SHARE, summarize
from lite_rtse_ext.data.prepare.cutting import CUT_FRAMES
from lite_rtse_ext.data.prepare.find import find_audio
from lite_rtse_ext.data.prepare.mixtures import mixtures_of
from lite_rtse_ext.data.prepare.splits import Shares, Splits, divide_noise, divide_speech, speakers_of
from lite_rtse_ext.utils.path_name import PathName

__all__ = ["FolderOptions", "folders", "prepare_folders"]

Report = Callable[[str], None]

_OPTIONS = dict(zip(KINDS, ("--speech", "--noise", "--rooms"), strict=True))


@dataclass(frozen=True)
class FolderOptions:
    """How the files are divided among the splits.

    Args:
        valid_share: share of the speakers or files, and of each long noise, that is held out for validation.
        test_share: share of the same that is held out for the test.
        mixtures: number of fixed mixtures for validation, and for the test.
        snrs_db: signal-to-noise ratios of the fixed mixtures in dB.
        license: the license to record for every file.
        refuse: stop at a damaged or silent file. Otherwise the file is reported and left out.

    Raises:
        ValueError: the shares leave nothing to train on.
    """

    valid_share: float = 0.1
    test_share: float = 0.1
    mixtures: int = 60
    snrs_db: tuple[float, ...] = (-5.0, 0.0, 5.0, 10.0, 15.0)
    license: str = "unknown"
    refuse: bool = False

    def __post_init__(self) -> None:
        _ = self.shares

    @property
    def shares(self) -> Shares:
        """The shares of validation and test."""
        return Shares(self.valid_share, self.test_share)


def prepare_folders(
    target: Path,
    *,
    speech: Path,
    noise: Path,
    rooms: Path | None = None,
    options: FolderOptions | None = None,
    report: Report = print,
) -> Manifest:
    """Convert folders of audio, including their sub-folders, to 16 kHz FLAC, and write ``manifest.json``.

    The folders identify the speakers; see :func:`~lite_rtse_ext.data.prepare.splits.speakers_of`. The first sub-folder
    is the kind of noise. The kind of a noise outside sub-folders is its file's name. If there are enough speakers, each
    is in one split only. Noise is divided by recording, and long recordings of noise by stretches. Speech of 20 s and
    more is cut into utterances at its pauses. Damaged and silent files are left out, unless ``options.refuse`` is set.

    Args:
        target: the folder to fill. It is created if it doesn't exist.
        speech: folder of clean speech.
        noise: folder of noise without speech.
        rooms: folder of room impulse responses, for training only.
        options: how the files are divided among the splits.
        report: function that is called with one line about each step and each fault.

    Returns:
        The manifest that was written.

    Raises:
        OSError: a folder can't be read or written.
        ManifestError: a folder holds no audio, or too little for any fixed mixtures. Or two of the folders are the
            same, or one is inside another. Or a folder is one that would be filled.
        AudioError: a file is damaged or silent, and ``options.refuse`` is set.
    """
    options = options or FolderOptions()
    folders = {kind: folder for kind, folder in zip(KINDS, (speech, noise, rooms), strict=True) if folder is not None}
    _require_separate(folders)
    recordings: list[Recording] = []
    for kind, folder in folders.items():
        files = find_audio(folder, target, KINDS, report)
        if kind != "room":
            require_sound(kind, folder, files)
        recordings += _recordings(kind, folder, files, options.license, report)
    converted = convert_recordings(recordings, target, refuse=options.refuse, report=report)
    clips: list[Clip] = []
    for kind in folders:
        own = [each for each in converted if each.recording.kind == kind]
        clips += clips_of(own, _divide(kind, own, options, report), target, options.shares, report)
    held_out = tuple(options.shares.held_out)
    mixtures = mixtures_of(target, clips, held_out, snrs_db=options.snrs_db, count=options.mixtures, report=report)
    manifest = Manifest(target, "folders", tuple(clips), mixtures)
    manifest.save(target / "manifest.json")
    return manifest


def _require_separate(folders: Mapping[str, Path]) -> None:
    """Refuse folders that share files: the same sound would serve as speech and as noise."""
    for (kind, folder), (other_kind, other) in combinations(folders.items(), 2):
        real, other_real = folder.resolve(), other.resolve()
        if real == other_real:
            problem = f"the same folder, {folder}"
        elif real.is_relative_to(other_real):
            problem = f"{folder} inside {other}"
        elif other_real.is_relative_to(real):
            problem = f"{other} inside {folder}"
        else:
            continue
        raise ManifestError(f"{_OPTIONS[kind]} and {_OPTIONS[other_kind]}: expected separate folders, got {problem}")


def _recordings(kind: str, folder: Path, files: list[Path], license: str, report: Report) -> list[Recording]:
    names = [path.relative_to(folder) for path in files]
    if kind == "speech":
        voices, rule = speakers_of(names)
        labels: Mapping[PurePath, str] = voices
        report(f"speech: {rule}")
    else:
        labels = {name: name.parts[0] if len(name.parts) > 1 else name.stem for name in names}
    return [
        Recording(kind, path, name, labels[name], license, str(path)) for path, name in zip(files, names, strict=True)
    ]


def _divide(kind: str, converted: list[Converted], options: FolderOptions, report: Report) -> Mapping[PurePath, Splits]:
    """Return the splits that each recording serves, by its name."""
    labels = {each.recording.name: each.recording.label for each in converted}
    sizes = {each.recording.name: each.frames for each in converted}
    if kind == "speech":
        splits, how = divide_speech(labels, sizes, options.shares)
        report(f"speech: divided {how}")
        return splits
    if kind == "room":
        return dict.fromkeys(labels, ("train",))
    return divide_noise(labels, sizes, options.shares, CUT_FRAMES)


@click.command()
@click.option("--speech", type=PathName(), required=True, help="Folder of clean speech.")
@click.option("--noise", type=PathName(), required=True, help="Folder of noise without speech.")
@click.option("--rooms", type=PathName(), help="Folder of room impulse responses.")
@TARGET
@VALID_SHARE
@TEST_SHARE
@MIXTURES
@click.option(
    "--license", "--licence", "license", default="unknown", show_default=True, help="Recorded in the manifest."
)
@REFUSE
def folders(
    speech: Path,
    noise: Path,
    rooms: Path | None,
    target: Path,
    valid_share: float,
    test_share: float,
    mixtures: int,
    license: str,
    refuse_damaged: bool,
) -> None:
    """Your own recordings: a folder of speech and one of noise, in any format.

    First sub-folders tell speakers and kinds of noise. A speaker is in one split only, where there are several.
    Recordings of 20 s and more are cut: speech at its pauses, noise into stretches for training, validation and test.
    Silent files, and whatever is no audio, are named and left out.

    \b
    lite-rtse prepare folders --speech speech/ --noise noise/ --out mine
    """
    options = FolderOptions(valid_share, test_share, mixtures=mixtures, license=license, refuse=refuse_damaged)
    summarize(prepare_folders(target, speech=speech, noise=noise, rooms=rooms, options=options, report=click.echo))
