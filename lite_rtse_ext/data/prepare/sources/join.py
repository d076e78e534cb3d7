"""``lite-rtse prepare join``: one manifest of several prepared folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path, PurePath

import click

from lite_rtse_ext.data.manifest import Clip, Manifest, ManifestError, Mixture, Pair
from lite_rtse_ext.data.prepare.command import ONLY_LICENSE, summarize
from lite_rtse_ext.data.prepare.licenses import with_licenses
from lite_rtse_ext.utils.file_names import MOST_BYTES, file_name
from lite_rtse_ext.utils.path_name import PathName

__all__ = ["join", "join_manifests"]


def join_manifests(
    target: Path,
    sources: Sequence[Path],
    *,
    judge_by: Sequence[Path] = (),
    only_license: Sequence[str] = (),
    report: Callable[[str], None] = print,
) -> Manifest:
    """Write a manifest with the files of several manifests. No audio file is copied or read.

    The notes of each source, such as a license, stand under its path and their names.

    Args:
        target: the file to write. The folders of all sources must lie in its folder.
        sources: the manifests, at least one.
        judge_by: the sources whose validation and test files are used. By default those of all sources are.
        only_license: patterns in the syntax of file name patterns. A training clip is used only if its license matches
            one of them. By default all are used. Letter case is ignored.
        report: function that is called with one line about each pattern, and one about the licenses left out.

    Returns:
        The manifest.

    Raises:
        OSError: a manifest can't be read, or the target can't be written.
        ManifestError: a source is not a manifest or is outside the target's folder, or ``judge_by`` is no source. No
            source has training data, or none has the licenses asked for. Or ``only_license`` is given and a source has
            training pairs, which state no license.
    """
    root = Path(os.path.abspath(target)).parent
    folders = {Path(os.path.abspath(source)): _inside(source, root) for source in sources}
    judges = [Path(os.path.abspath(path)) for path in judge_by]
    for path in judges:
        if path not in folders:
            raise ManifestError(f"judge_by: expected one of the joined manifests, got {path}")
    if Path(os.path.abspath(target)) in folders:
        raise ManifestError(f"target: expected a new file, got {target}, which is joined")
    clips: list[Clip] = []
    mixtures: list[Mixture] = []
    pairs: list[Pair] = []
    notes: dict[str, str] = {}
    names = _Names()
    for path, folder in folders.items():
        manifest = Manifest.load(path)
        if only_license and any(pair.split == "train" for pair in manifest.pairs):
            raise ManifestError(f"{path}: expected clips, whose licenses are known, got training pairs")
        notes |= {f"{path.relative_to(root).as_posix()}: {key}": note for key, note in manifest.notes.items()}
        judge = not judges or path in judges
        clips += _clips(manifest, folder, judge)
        if judge:
            mixtures += (_moved_mixture(mixture, folder, names) for mixture in manifest.mixtures)
        pairs += (_moved_pair(pair, folder, names) for pair in manifest.pairs if judge or pair.split == "train")
    train = [clip for clip in clips if clip.split == "train"]
    used = set(with_licenses(train, only_license, lambda clip: clip.license, report))
    clips = [clip for clip in clips if clip.split != "train" or clip in used]
    if "train" not in {clip.split for clip in clips} | {pair.split for pair in pairs}:
        raise ManifestError(f"{', '.join(map(str, sources))}: no training data is left")
    joined = Manifest(root, target.stem, tuple(clips), tuple(mixtures), tuple(pairs), notes)
    joined.save(target)
    return joined


def _inside(source: Path, root: Path) -> str:
    folder = Path(os.path.abspath(source)).parent
    if not folder.is_relative_to(root):
        raise ManifestError(f"{source}: expected a manifest in {root}, where the joined one is written")
    return folder.relative_to(root).as_posix()


def _clips(manifest: Manifest, folder: str, judge: bool) -> Iterator[Clip]:
    for clip in manifest.clips:
        if judge or clip.split == "train":
            yield replace(clip, path=_below(folder, clip.path))


def _below(folder: str, path: str) -> str:
    return (PurePath(folder) / path).as_posix()


class _Names:
    """The names of the joined mixtures and pairs: the folder and the old name, shortened if need be.

    A name that is taken gets a number.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, folder: str, name: str) -> str:
        plain = f"{folder.replace('/', '-')}-{name}" if folder != "." else name
        plain = plain if len(plain.encode()) <= MOST_BYTES else file_name(plain)
        numbered = (f"{plain}-{number}" for number in count(2))
        free = next(each for each in chain([plain], numbered) if each not in self._taken)
        self._taken.add(free)
        return free


def _moved_mixture(mixture: Mixture, folder: str, names: _Names) -> Mixture:
    return replace(
        mixture,
        name=names.new(folder, mixture.name),
        speech=_below(folder, mixture.speech),
        noise=_below(folder, mixture.noise),
    )


def _moved_pair(pair: Pair, folder: str, names: _Names) -> Pair:
    return replace(
        pair, name=names.new(folder, pair.name), noisy=_below(folder, pair.noisy), clean=_below(folder, pair.clean)
    )


@click.command()
@click.argument("sources", nargs=-1, required=True, type=PathName())
@click.option("--out", "target", type=PathName(), required=True, help="Manifest to write.")
@click.option(
    "--judge-by",
    multiple=True,
    type=PathName(),
    help="Source whose validation and test files are used; by default all.",
)
@ONLY_LICENSE
def join(sources: tuple[Path, ...], target: Path, judge_by: tuple[Path, ...], only_license: tuple[str, ...]) -> None:
    """One manifest of several: SOURCES are manifests in folders beside the new one. No audio is copied.
    The licenses are those of training files: validation and test keep all of theirs.

    \b
    lite-rtse prepare join debian/manifest.json mine/manifest.json --out both.json
    """
    joined = join_manifests(target, sources, judge_by=judge_by, only_license=only_license, report=click.echo)
    summarize(joined, target)
