"""``lite-rtse prepare folders``: anyone's own recordings of speech and of noise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile as sf

from lite_rtse_ext.audio.io import CONTAINERS
from lite_rtse_ext.audio.stft import SAMPLE_RATE_HZ
from lite_rtse_ext.data.batch_convert import Conversion, convert_all
from lite_rtse_ext.data.convert import is_complete, write_flac
from lite_rtse_ext.data.fixed import make_mixtures
from lite_rtse_ext.data.manifest import Clip, Manifest, ManifestError, Mixture

__all__ = ["FolderOptions", "prepare_folders"]

_CUT_SECONDS = 20.0
"""Noise at least this long is cut in three; shorter files go to one split whole."""

_SUFFIXES = frozenset(CONTAINERS) | {".g722"}


@dataclass(frozen=True)
class FolderOptions:
    """How the files are split up.

    Args:
        valid_share: share of the files, and of each long noise, kept for validation.
        test_share: the same for the test.
        mixtures: number of fixed mixtures of either.
        snrs_db: of the fixed mixtures.
        licence: recorded for every file.
        refuse: stop at a damaged file; otherwise it is named and left out.
    """

    valid_share: float = 0.1
    test_share: float = 0.1
    mixtures: int = 60
    snrs_db: tuple[float, ...] = (-5.0, 0.0, 5.0, 10.0, 15.0)
    licence: str = "unknown"
    refuse: bool = False

    def __post_init__(self) -> None:
        if min(self.valid_share, self.test_share) < 0 or self.valid_share + self.test_share >= 1:
            raise ValueError(
                f"valid_share and test_share must leave something to train on, but are "
                f"{self.valid_share} and {self.test_share}"
            )


def prepare_folders(
    target: Path,
    *,
    speech: Path,
    noise: Path,
    rooms: Path | None = None,
    options: FolderOptions | None = None,
    report: Callable[[str], None] = print,
) -> Manifest:
    """Convert two folders of audio, sub-folders included, to 16 kHz FLAC, and write ``manifest.json``.

    The name of the first sub-folder tells the speaker, and the kind of noise; noise that lies in none is of the kind
    of its file's name. Which split a file goes to is decided by its path alone, so that adding files moves no other.

    Args:
        target: the folder to fill; made if it doesn't exist.
        speech: clean speech.
        noise: noise without speech.
        rooms: room impulse responses, for training.
        options: how the files are split up.
        report: is called with a line about each step and each fault.

    Raises:
        OSError: a folder can't be read or written.
        ManifestError: a folder holds no audio, or too little for the fixed mixtures.
        AudioError: a damaged file, if those are refused.
    """
    options = options or FolderOptions()
    clips: list[Clip] = []
    for kind, folder in (("speech", speech), ("noise", noise), ("room", rooms)):
        if folder is not None:
            clips += _prepare(kind, folder, target, options, report)
    mixtures = (*_mixtures("valid", clips, options), *_mixtures("test", clips, options))
    manifest = Manifest(target, "folders", tuple(clips), mixtures)
    manifest.save(target / "manifest.json")
    return manifest


def _mixtures(split: str, clips: list[Clip], options: FolderOptions) -> Iterator[Mixture]:
    share = options.valid_share if split == "valid" else options.test_share
    if share == 0:
        return
    speech, noise = (
        [clip for clip in clips if (clip.kind, clip.split) == (kind, split)] for kind in ("speech", "noise")
    )
    yield from make_mixtures(split, speech, noise, options.snrs_db, options.mixtures, seed=len(split))


def _prepare(
    kind: str, folder: Path, target: Path, options: FolderOptions, report: Callable[[str], None]
) -> Iterator[Clip]:
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder")
    sources = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not sources:
        raise ManifestError(f"{folder}: no audio files (looked for {' '.join(sorted(_SUFFIXES))})")
    names = [path.relative_to(folder) for path in sources]
    jobs = [
        Conversion(source, target / kind / f"{name}.flac") for source, name in zip(sources, names, strict=True)
    ]  # the suffix stays: a.wav and a.mp3 are two files
    lengths = convert_all(jobs, refuse=options.refuse, report=report)
    for job, name, length in zip(jobs, names, lengths, strict=True):
        if length is not None:
            yield from _clips(kind, name, job, length, target, options)


def _clips(kind: str, name: Path, job: Conversion, length: int, target: Path, options: FolderOptions) -> Iterator[Clip]:
    label = name.parts[0] if len(name.parts) > 1 else "unknown" if kind == "speech" else name.stem

    def clip(split: str, path: Path, frames: int) -> Clip:
        relative = path.relative_to(target).as_posix()
        return Clip(kind, split, relative, frames, label, options.licence, str(job.source))

    if kind == "noise" and length >= _CUT_SECONDS * SAMPLE_RATE_HZ:
        for split, path, start, stop in _cuts(job.target, length, options):
            if not is_complete(path, stop - start):
                write_flac(path, sf.read(job.target, start=start, stop=stop, dtype="float32")[0])
            yield clip(split, path, stop - start)
        return
    yield clip("train" if kind == "room" else _split_of(name, options), job.target, length)


def _cuts(path: Path, length: int, options: FolderOptions) -> Iterator[tuple[str, Path, int, int]]:
    """Training first, then validation, then test; the empty ones left out."""
    first = round(length * (1 - options.valid_share - options.test_share))
    second = round(length * (1 - options.test_share))
    bounds = {"train": (0, first), "valid": (first, second), "test": (second, length)}
    for split, (start, stop) in bounds.items():
        if stop > start:
            yield split, path.with_suffix(f".{split}.flac"), start, stop


def _split_of(name: Path, options: FolderOptions) -> str:
    """Which split a path falls into: its hash as a number between 0 and 1."""
    place = int.from_bytes(hashlib.sha256(name.as_posix().encode()).digest()[:8], "big") / 2**64
    if place < options.valid_share:
        return "valid"
    return "test" if place < options.valid_share + options.test_share else "train"
