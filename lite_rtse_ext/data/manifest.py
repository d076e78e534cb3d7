"""The manifest lists the audio files, the purpose of each, and the fixed mixtures that evaluate a network.

It is a JSON file beside the audio that it describes. Paths in it are relative to its folder and stay in that folder.
All audio is 16 kHz mono, in FLAC or WAV files with PCM samples. The manifest holds three lists, which may be empty:

- ``clips``: speech, noise and room impulse responses. Training mixes them on the fly. Fixed mixtures consist of them;
- ``mixtures``: fixed mixtures of two clips, for validation and test;
- ``pairs``: noisy recordings, each with a clean recording of the same speech.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import TypeVar

from lite_rtse_ext.data.rules import (
    ManifestError,
    any_of,
    check_fields,
    file,
    name,
    number,
    optional,
    shown,
    text,
    whole,
)
from lite_rtse_ext.utils.atomic_file import replacing

__all__ = [
    "FORMAT",
    "KINDS",
    "SPLITS",
    "Clip",
    "Manifest",
    "ManifestError",
    "Mixture",
    "Pair",
    "read_entries",
    "written",
]

FORMAT = "lite-rtse manifest 1"
SPLITS = ("train", "valid", "test")
KINDS = ("speech", "noise", "room")


_KIND, _SPLIT = any_of(KINDS), any_of(SPLITS)


@dataclass(frozen=True)
class Clip:
    """One audio file.

    Args:
        kind: speech, noise or room (a room impulse response).
        split: train, valid or test.
        path: path relative to the manifest's folder.
        frames: length in samples at 16 kHz.
        label: the speaker, or the kind of noise.
        license: SPDX name, or the owner's own statement. The key in the file is ``licence``.
        source: where the file came from.

    Raises:
        ManifestError: a field breaks its rule. The message names the field.
    """

    kind: str
    split: str
    path: str
    frames: int
    label: str
    license: str = field(default="unknown", metadata={"key": "licence"})
    source: str = ""

    def __post_init__(self) -> None:
        check_fields(self, kind=_KIND, split=_SPLIT, path=file, frames=whole(1), label=text, license=text, source=text)


@dataclass(frozen=True)
class Mixture:
    """Speech plus a stretch of noise, fixed to the sample: ``speech[: frames] + gain · noise[noise_start :]``.

    Args:
        name: a name that is unique in the manifest. It must be a file name, since results are stored under it.
        split: valid or test.
        speech: path of a speech clip.
        noise: path of a noise clip. The clip must hold ``frames`` samples from ``noise_start`` on.
        noise_start: first sample of the noise.
        snr_db: signal-to-noise ratio in dB, from the powers of speech and noise over the whole mixture.
        label: the kind of noise.
        frames: length of the mixture in samples. The default is the length of the speech.

    Raises:
        ManifestError: a field breaks its rule. The message names the field.
    """

    name: str
    split: str
    speech: str
    noise: str
    noise_start: int
    snr_db: float
    label: str
    frames: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, name=name, split=_SPLIT, speech=file, noise=file, noise_start=whole(0))
        check_fields(self, snr_db=number, label=text, frames=optional(whole(1)))


@dataclass(frozen=True)
class Pair:
    """A noisy recording and the clean recording of the same speech, of equal length.

    Args:
        name: a name that is unique in the manifest. It must be a file name, since results are stored under it.
        split: train, valid or test.
        noisy: path of the noisy recording, relative to the manifest's folder.
        clean: path of the clean recording, relative to the manifest's folder.
        frames: length of both recordings in samples at 16 kHz.
        speaker: the speaker.
        snr_db: signal-to-noise ratio in dB, or None if it is not known.
        label: the kind of noise, or None if it is not known.

    Raises:
        ManifestError: a field breaks its rule. The message names the field.
    """

    name: str
    split: str
    noisy: str
    clean: str
    frames: int
    speaker: str
    snr_db: float | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, name=name, split=_SPLIT, noisy=file, clean=file, frames=whole(1), speaker=text)
        check_fields(self, snr_db=optional(number), label=optional(text))


@dataclass(frozen=True)
class Manifest:
    """The lists of a manifest file. :meth:`load` reads them, and :meth:`save` writes them.

    Args:
        root: the folder that paths are relative to.
        name: the name of the data set.
        clips: speech, noise and room impulse responses. Each path may be listed once.
        mixtures: fixed mixtures of the clips.
        pairs: noisy recordings with their clean recordings. Mixtures and pairs share one set of names.
        notes: further names and texts, for example the license.

    Raises:
        ManifestError: a path or name is listed twice, a mixture does not fit its clips, or a text is invalid.
    """

    root: Path
    name: str
    clips: tuple[Clip, ...] = ()
    mixtures: tuple[Mixture, ...] = ()
    pairs: tuple[Pair, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, name=text)
        _check_notes(self.notes)
        for what, names in (
            ("clip", [clip.path for clip in self.clips]),
            ("mixture", [each.name for each in self.mixtures] + [each.name for each in self.pairs]),
        ):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ManifestError(f"{what} {twice[0]} is listed twice")
        self._check_mixtures()

    def _check_mixtures(self) -> None:
        by_path = {clip.path: clip for clip in self.clips}
        for mixture in self.mixtures:
            for kind, path in (("speech", mixture.speech), ("noise", mixture.noise)):
                if path not in by_path or by_path[path].kind != kind:
                    raise ManifestError(f"mixture {mixture.name}: {path} is no {kind} clip of this manifest")
            speech_frames = by_path[mixture.speech].frames
            length = speech_frames if mixture.frames is None else mixture.frames
            if length > speech_frames:
                raise ManifestError(f"mixture {mixture.name}: {mixture.speech} is too short for it")
            if mixture.noise_start + length > by_path[mixture.noise].frames:
                raise ManifestError(f"mixture {mixture.name}: {mixture.noise} is too short for it")

    def select(self, kind: str, split: str) -> list[Clip]:
        """Return the clips of one kind in one split, in the order of the file."""
        return [clip for clip in self.clips if clip.kind == kind and clip.split == split]

    def fixed(self, split: str) -> list[Mixture | Pair]:
        """Return what evaluates a network in one split: first the mixtures, then the pairs, in the file's order."""
        everything: list[Mixture | Pair] = [*self.mixtures, *self.pairs]
        return [each for each in everything if each.split == split]

    def files(self) -> Iterator[tuple[str, int]]:
        """Yield the path of every audio file, relative to ``root``, and the length in samples that it must have."""
        for clip in self.clips:
            yield clip.path, clip.frames
        for pair in self.pairs:
            yield pair.noisy, pair.frames
            yield pair.clean, pair.frames

    def path(self, relative: str) -> Path:
        """Return ``root`` joined with a path of the manifest."""
        return self.root / relative

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the manifest, with one entry per line.

        The file appears under its name only when it is complete.

        Raises:
            OSError: the file can't be written.
        """
        lists: dict[str, Sequence[Clip | Mixture | Pair]] = {
            "clips": self.clips,
            "mixtures": self.mixtures,
            "pairs": self.pairs,
        }
        body = ",\n".join(f'"{name}": {_listed(entries)}' for name, entries in lists.items())
        head = json.dumps({"format": FORMAT, "name": self.name, "notes": dict(self.notes)}, ensure_ascii=False)
        with replacing(path) as temporary:
            temporary.write_text(f"{head[:-1]},\n{body}}}\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Manifest:
        """Read a manifest.

        The audio files are not read. :func:`lite_rtse_ext.data.check.check_files` checks them.

        Raises:
            OSError: the file does not exist or can't be read.
            ManifestError: the file is not a manifest. The message says what is wrong.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:  # ValueError: not JSON, not UTF-8, or too long a number
            raise ManifestError(f"{path}: not a manifest ({error})") from error
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise ManifestError(f"{path}: not a manifest this version reads: its format is {found!r}, not {FORMAT!r}")
        try:
            return cls(
                path.parent,
                content["name"],
                read_entries(Clip, content["clips"]),
                read_entries(Mixture, content["mixtures"]),
                read_entries(Pair, content["pairs"]),
                content.get("notes", {}),
            )
        except KeyError as error:
            raise ManifestError(f"{path}: {error} is missing") from error
        except ManifestError as error:
            raise ManifestError(f"{path}: {error}") from error


_Entry = TypeVar("_Entry", Clip, Mixture, Pair)


def read_entries(kind: type[_Entry], rows: object) -> tuple[_Entry, ...]:
    """Build entries from the objects that a JSON parser returned.

    Args:
        kind: the class of the entries.
        rows: a list with one dictionary for each entry.

    Raises:
        ManifestError: a field is missing, unknown, or of a wrong type or value. The message says what is wrong.
    """
    what = kind.__name__.lower()
    if not isinstance(rows, list):
        raise ManifestError(f"{what}s: expected a list, got {shown(rows)}")
    return tuple(_entry(kind, f"{what} {number}", row) for number, row in enumerate(rows))


def _entry(kind: type[_Entry], what: str, row: object) -> _Entry:
    known = {_key(each): each.name for each in fields(kind)}
    if not isinstance(row, dict) or not set(row) <= set(known):
        raise ManifestError(f"{what} has something else than {', '.join(sorted(known))}")
    try:
        return kind(**{known[key]: value for key, value in row.items()})
    except (TypeError, ManifestError) as error:  # TypeError means that a field is missing
        raise ManifestError(f"{what}: {error}") from error


def _listed(entries: Iterable[Clip | Mixture | Pair]) -> str:
    lines = ",\n".join(json.dumps(written(each), ensure_ascii=False) for each in entries)
    return f"[\n{lines}\n]" if lines else "[]"


def written(entry: Clip | Mixture | Pair) -> dict[str, object]:
    """Return an entry as a manifest holds it, for a JSON writer. It is the inverse of :func:`read_entries`."""
    values = {_key(each): getattr(entry, each.name) for each in fields(entry)}
    return {key: value for key, value in values.items() if value is not None}


def _key(each: Field[object]) -> str:
    """The key of a field in the file. It is the field's name, unless files have another spelling."""
    return str(each.metadata.get("key", each.name))


def _check_notes(notes: object) -> None:
    if not isinstance(notes, Mapping):
        raise ManifestError(f"notes: expected names and texts, got {shown(notes)}")
    for key, value in notes.items():
        for part in (key, value):
            if not text.holds(part):
                raise ManifestError(f"notes: expected {text.expected}, got {shown(part)}")
