"""``lite-rtse prepare debian``: speech and noise that Debian and Ubuntu ship as ordinary packages.

apt fetches and verifies the packages, dpkg-deb unpacks them, and the sounds are converted to 16 kHz FLAC. Nothing is
installed, and no administrator's rights are needed. Every step leaves only complete files. The same command continues
an interrupted run.

The test split shares nothing with the others. It has one language and voice (Russian), and three kinds of noise.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.manifest import Clip, Manifest, ManifestError, Mixture, read_entries, written
from lite_rtse_ext.data.prepare.command import ONLY_LICENSE, TARGET, summarize
from lite_rtse_ext.data.prepare.convert import is_complete, write_flac
from lite_rtse_ext.data.prepare.debian import apt
from lite_rtse_ext.data.prepare.debian.noises import NOISE_PACKAGES
from lite_rtse_ext.data.prepare.debian.packages import PACKAGES, Piece
from lite_rtse_ext.data.prepare.debian.voices import VOICE_PACKAGES
from lite_rtse_ext.data.prepare.licenses import with_licenses
from lite_rtse_ext.data.prepare.mixtures import make_mixtures
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.atomic_file import replacing
from lite_rtse_ext.utils.new_folder import new_folder
from lite_rtse_ext.utils.path_name import PathName

__all__ = ["debian", "prepare_debian"]

SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 15.0)
VALID_MIXTURES = 50
TEST_MIXTURES = 60
_VALID_SEED, _TEST_SEED = 1, 2
_RULES = 2
"""Version of the rules that select the sounds. A package that was converted by other rules is converted again."""


def prepare_debian(
    target: Path,
    *,
    more: bool = False,
    debs: Path | None = None,
    suite: str = apt.NEWER_SUITE,
    only_license: Sequence[str] = (),
    report: Callable[[str], None] = print,
) -> Manifest:
    """Fetch, unpack and decode the packages into a folder, and write its ``manifest.json``.

    Args:
        target: the folder. It is created if it doesn't exist. It grows to about 0.5 GB, or with ``more`` to 2 GB. Most
            of this size is the packages in its folder ``deb``.
        more: also add about fifty voices, with four hours of words and short sentences, and 75 minutes of noise. They
            are for training only, and 1.3 GB more to fetch. The mixtures for validation and test do not change.
        debs: a folder of .deb files to use. Nothing is fetched then. apt verifies the packages that it fetches. Of the
            files in this folder only the package names and the unpacked sizes are checked.
        suite: the Debian release for packages that the system's own release doesn't have.
        only_license: patterns in the syntax of file name patterns. The manifest lists only clips whose license matches
            one of them. The mixtures are then other ones. By default all licenses are allowed.
        report: function that is called with one line about each step.

    Returns:
        The manifest that was written.

    Raises:
        OSError: a folder can't be written to.
        FetchError: apt can't fetch a package, a package is missing in ``debs``, or a package is damaged.
        AudioError, ContainerError: the content of a package is not as expected.
        ManifestError: ``only_license`` leaves too little for any mixtures of validation or test.
    """
    packages = {**PACKAGES, **VOICE_PACKAGES, **NOISE_PACKAGES} if more else PACKAGES
    missing = [name for name in packages if _recorded(target, name, report) is None]
    if missing:
        with new_folder(target):
            archives = apt.fetch(missing, debs or target / "deb", suite=suite, offline=debs is not None, report=report)
            for name in missing:
                _convert(name, packages[name], archives[name], target, report)
    recorded = (clip for name in packages for clip in _recorded(target, name) or ())
    clips = with_licenses(recorded, only_license, lambda clip: clip.license, report)
    manifest = Manifest(target, "debian", tuple(clips), (*_mixtures("valid", clips), *_mixtures("test", clips)))
    manifest.save(target / "manifest.json")
    return manifest


def _mixtures(split: str, clips: list[Clip]) -> tuple[Mixture, ...]:
    count, seed = (TEST_MIXTURES, _TEST_SEED) if split == "test" else (VALID_MIXTURES, _VALID_SEED)
    speech, noise = ([c for c in clips if (c.kind, c.split) == (kind, split)] for kind in ("speech", "noise"))
    return tuple(make_mixtures(split, speech, noise, SNRS_DB, count, seed))


def _convert(
    name: str,
    pieces: Callable[[Path], Iterator[Piece]],
    archive: Path,
    target: Path,
    report: Callable[[str], None],
) -> None:
    """Decode one package and record its clips. The record is written last and marks the package as complete."""
    with tempfile.TemporaryDirectory(prefix=".unpacked.", dir=target) as folder:
        report(f"{name}: unpacking {archive.name}")
        apt.unpack(archive, name, Path(folder))
        _copy_license(name, Path(folder), target)
        clips = []
        for piece in pieces(Path(folder)):
            path = target / piece.path
            if not is_complete(path, len(piece.samples)):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_flac(path, piece.samples)
            clips.append(
                Clip(
                    piece.kind,
                    piece.split,
                    piece.path,
                    len(piece.samples),
                    piece.label,
                    piece.license,
                    f"Debian package {archive.name.removesuffix('.deb')}",
                )
            )
    if not clips:
        raise AudioError(f"{archive}: holds none of the sounds that {name} is known for")
    minutes = sum(clip.frames for clip in clips) / SAMPLE_RATE_HZ / 60
    report(f"{name}: {len(clips)} files, {minutes:.1f} min")
    rows = [written(clip) for clip in clips]
    record = {"package": archive.name, "sha256": apt.sha256(archive), "rules": _RULES, "clips": rows}
    path = _record_path(target, name)
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _copy_license(name: str, unpacked: Path, target: Path) -> None:
    """Keep the package's statement of authors and licenses beside the audio."""
    source = unpacked / "usr" / "share" / "doc" / name / "copyright"
    (target / "licences").mkdir(exist_ok=True)
    with replacing(target / "licences" / f"{name}.txt") as temporary:
        shutil.copyfile(source, temporary)


def _record_path(target: Path, name: str) -> Path:
    return target / "packages" / f"{name}.json"


def _recorded(target: Path, name: str, report: Callable[[str], None] = lambda line: None) -> list[Clip] | None:
    """Return the clips of a package that is complete, or else None.

    A package is not complete if it was converted by other rules, or if one of its files is missing.
    """
    path = _record_path(target, name)
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ManifestError("not a record of clips")
        if record.get("rules") != _RULES:
            return None
        clips = read_entries(Clip, record.get("clips"))
    except (ValueError, RecursionError) as error:
        report(f"{path}: damaged, so that {name} is taken apart again ({error})")
        return None
    done = clips and all(is_complete(target / clip.path, clip.frames) for clip in clips)
    return list(clips) if done else None


@click.command()
@TARGET
@click.option("--debs", type=PathName(), help="Folder of .deb files to use; nothing is fetched or verified then.")
@click.option("--suite", default="trixie", show_default=True, help="Debian release for what the system's own lacks.")
@click.option("--more", is_flag=True, help="Train on fifty more voices and more noise, too: another 1.3 GB.")
@ONLY_LICENSE
def debian(target: Path, debs: Path | None, suite: str, more: bool, only_license: tuple[str, ...]) -> None:
    """Speech and noise that Debian and Ubuntu ship as packages: 1.8 hours of speech, half an hour of noise.

    Fetches about 90 MB with apt, as an ordinary user, and installs nothing. Needs Debian or Ubuntu.

    \b
    lite-rtse prepare debian --more --out debian
    """
    summarize(prepare_debian(target, more=more, debs=debs, suite=suite, only_license=only_license, report=click.echo))
