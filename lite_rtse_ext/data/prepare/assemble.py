"""Turns recordings into clips: converts them, assigns them to splits, and cuts long ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.manifest import Clip, ManifestError
from lite_rtse_ext.data.prepare.batch import Conversion, convert_all
from lite_rtse_ext.data.prepare.convert import decoded_frames
from lite_rtse_ext.data.prepare.cutting import CUT_FRAMES, Cut, cut_all
from lite_rtse_ext.data.prepare.mixtures import LEAST_SECONDS
from lite_rtse_ext.data.prepare.splits import Shares, Splits, stretches
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.file_names import plain, target_path

__all__ = ["Converted", "Recording", "clips_of", "convert_recordings", "require_sound"]

_LEAST_HELD_OUT = 4 * SAMPLE_RATE_HZ

Report = Callable[[str], None]


@dataclass(frozen=True)
class Recording:
    """A file to prepare.

    Args:
        kind: speech, noise or room.
        source: the file.
        name: path below the folder that the file came from.
        label: the speaker, or the kind of noise.
        license: the license to record in the manifest.
        origin: the source to record in the manifest.
    """

    kind: str
    source: Path
    name: PurePath
    label: str
    license: str
    origin: str


@dataclass(frozen=True)
class Converted:
    """A recording, its prepared file, and the length of that file in samples at 16 kHz."""

    recording: Recording
    path: Path
    frames: int


def require_sound(kind: str, place: Path, files: Sequence[Path]) -> None:
    """Check before the conversion that at least one file is long enough for a mixture.

    Args:
        kind: speech or noise, for the message.
        place: the folder of the files, for the message.
        files: the files.

    Raises:
        ManifestError: no file is long enough for a mixture.
    """
    reason = ""
    for path in files:
        try:
            frames = decoded_frames(path)
            if frames is None or frames >= LEAST_SECONDS * SAMPLE_RATE_HZ:
                return
        except (OSError, AudioError) as error:
            reason = f"; {error}"
    raise ManifestError(
        f"{place}: holds no recording of {kind} of {LEAST_SECONDS:g} s or more, among {len(files)} files{reason}"
    )


def convert_recordings(
    recordings: Sequence[Recording], target: Path, *, refuse: bool, report: Report
) -> list[Converted]:
    """Convert recordings into one folder for each kind. Recordings that are left out are reported.

    Args:
        recordings: the recordings.
        target: the folder that holds the folders of the kinds.
        refuse: raise an error at a damaged or silent file. Otherwise the file is left out.
        report: function that is called with one line about each file left out and about progress.

    Raises:
        OSError, AudioError: the errors of :func:`~lite_rtse_ext.data.prepare.batch.convert_all`.
        ManifestError: every recording of a kind was left out.
    """
    jobs = [
        Conversion(each.source, target / each.kind / target_path(each.name, ".flac")) for each in recordings
    ]  # the old suffix is kept in the name, since a.wav and a.mp3 are two files
    lengths = convert_all(jobs, refuse=refuse, report=report)
    converted = [
        Converted(recording, job.target, length)
        for recording, job, length in zip(recordings, jobs, lengths, strict=True)
        if length is not None
    ]
    for kind in sorted({each.kind for each in recordings} - {each.recording.kind for each in converted}):
        raise ManifestError(f"{target}: every recording of {kind} was left out, for the reasons above")
    return converted


def clips_of(
    converted: Sequence[Converted],
    splits: Mapping[PurePath, Splits],
    target: Path,
    shares: Shares,
    report: Report,
) -> list[Clip]:
    """Make clips of converted recordings. A recording is cut if it serves several splits or is long speech.

    Args:
        converted: recordings of one kind.
        splits: the splits of each recording, by its name.
        target: the folder of the manifest.
        shares: shares of the splits in a recording that serves several.
        report: function that is called with one line about anything left out.

    Raises:
        OSError: a piece can't be written.
    """
    cuts = []
    for each in converted:
        bounds = stretches(each.frames, splits[each.recording.name], shares, _LEAST_HELD_OUT)
        long_speech = each.recording.kind == "speech" and each.frames >= CUT_FRAMES
        cuts.append(Cut(each.path, target / each.recording.kind, each.recording.name, bounds, long_speech))
    return [
        Clip(
            each.recording.kind,
            piece.split,
            piece.path.relative_to(target).as_posix(),
            piece.frames,
            plain(each.recording.label, keep="/"),
            plain(each.recording.license, keep="/"),
            plain(each.recording.origin, keep="/"),
        )
        for each, pieces in zip(converted, cut_all(cuts, report), strict=True)
        for piece in pieces
    ]
