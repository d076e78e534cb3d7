"""The manifest: which files there are, what each is for, and which fixed mixtures judge a network.

A JSON file beside the audio it describes; paths in it are relative to its folder, and stay in it. All audio is 16 kHz
mono, FLAC or WAV with PCM samples. It holds three lists, any of which may be empty:

- ``clips``: speech, noise and room responses, to be mixed on the fly, and what mixtures are made of;
- ``mixtures``: fixed mixtures of two clips, for validation and test;
- ``pairs``: noisy recordings that came with their clean ones.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
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

__all__ = ["FORMAT", "KINDS", "SPLITS", "Clip", "Manifest", "ManifestError", "Mixture", "Pair", "read_entries"]

FORMAT = "lite-rtse manifest 1"
SPLITS = ("train", "valid", "test")
KINDS = ("speech", "noise", "room")


_KIND, _SPLIT = any_of(KINDS), any_of(SPLITS)


@dataclass(frozen=True)
class Clip:
    """One audio file.

    Args:
        kind: speech, noise or room (an impulse response).
        split: train, valid or test.
        path: relative to the manifest.
        frames: its length in samples at 16 kHz.
        label: the speaker, or the kind of noise.
        licence: SPDX name, or what its owner says.
        source: where it came from.
    """

    kind: str
    split: str
    path: str
    frames: int
    label: str
    licence: str = "unknown"
    source: str = ""

    def __post_init__(self) -> None:
        check_fields(self, kind=_KIND, split=_SPLIT, path=file, frames=whole(1), label=text, licence=text, source=text)


@dataclass(frozen=True)
class Mixture:
    """Speech plus a stretch of noise, fixed to the sample: ``speech[: frames] + gain · noise[noise_start :]``.

    Args:
        name: unique in the manifest; a file name, since results are called by it.
        split: valid or test.
        speech: path of a clip.
        noise: path of a clip that is long enough from ``noise_start`` on.
        noise_start: first sample of the noise.
        snr_db: ratio of the powers of speech and noise over the whole mixture.
        label: the kind of noise.
        frames: length of the mixture in samples; by default that of the speech.
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
    """A noisy recording and its clean one, equally long.

    Args:
        name: unique in the manifest; a file name, since results are called by it.
        split: train, valid or test.
        noisy: path.
        clean: path.
        frames: length of both, in samples.
        speaker: who speaks.
        snr_db: where it is known.
        label: the kind of noise, where it is known.
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
    """What :meth:`load` reads and :meth:`save` writes; ``root`` is the folder that paths are relative to."""

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
        """The clips of a kind in a split, in the order of the file."""
        return [clip for clip in self.clips if clip.kind == kind and clip.split == split]

    def fixed(self, split: str) -> list[Mixture | Pair]:
        """What judges a network in a split: mixtures and pairs, in the order of the file."""
        everything: list[Mixture | Pair] = [*self.mixtures, *self.pairs]
        return [each for each in everything if each.split == split]

    def files(self) -> Iterator[tuple[str, int]]:
        """Every audio file with the length it must have, in samples."""
        for clip in self.clips:
            yield clip.path, clip.frames
        for pair in self.pairs:
            yield pair.noisy, pair.frames
            yield pair.clean, pair.frames

    def path(self, relative: str) -> Path:
        """Where a file of the manifest lies."""
        return self.root / relative

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the manifest, one entry a line; the file appears complete or not at all."""
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
        """Read a manifest; the audio isn't looked at (:func:`lite_rtse_ext.data.check.check_files` does that).

        Raises:
            OSError: no such file, or it can't be read.
            ManifestError: not a manifest; the message says what is wrong.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, or a number too long to read
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
    """Entries out of what JSON holds.

    Raises:
        ManifestError: something is missing, unknown, or of a type or value that it can't have; says what.
    """
    what = kind.__name__.lower()
    if not isinstance(rows, list):
        raise ManifestError(f"{what}s: expected a list, got {shown(rows)}")
    return tuple(_entry(kind, f"{what} {number}", row) for number, row in enumerate(rows))


def _entry(kind: type[_Entry], what: str, row: object) -> _Entry:
    known = {each.name for each in fields(kind)}
    if not isinstance(row, dict) or not set(row) <= known:
        raise ManifestError(f"{what} has something else than {', '.join(sorted(known))}")
    try:
        return kind(**row)
    except (TypeError, ManifestError) as error:  # TypeError: a field is missing
        raise ManifestError(f"{what}: {error}") from error


def _listed(entries: Iterable[Clip | Mixture | Pair]) -> str:
    lines = ",\n".join(json.dumps(_row(each), ensure_ascii=False) for each in entries)
    return f"[\n{lines}\n]" if lines else "[]"


def _row(entry: Clip | Mixture | Pair) -> dict[str, object]:
    return {key: value for key, value in asdict(entry).items() if value is not None}


def _check_notes(notes: object) -> None:
    if not isinstance(notes, Mapping):
        raise ManifestError(f"notes: expected names and texts, got {shown(notes)}")
    for key, value in notes.items():
        for part in (key, value):
            if not text.holds(part):
                raise ManifestError(f"notes: expected {text.expected}, got {shown(part)}")
