"""``lite-rtse prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lite_rtse_ext.cli.errors import one_line

if TYPE_CHECKING:
    from lite_rtse_ext.data.manifest import Manifest

_TARGET = click.option(
    "--out", "target", type=click.Path(path_type=Path), required=True, help="Folder to fill; made if need be."
)
_REFUSE = click.option(
    "--refuse-damaged", is_flag=True, help="Stop at a file that is damaged or silent, instead of naming it."
)
_VALID = click.option(
    "--valid-share", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="For validation."
)
_TEST = click.option("--test-share", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="For the test.")
_MIXTURES = click.option(
    "--mixtures", type=click.IntRange(min=1), default=60, show_default=True, help="Fixed mixtures of either."
)
_ONLY_LICENSE = click.option(
    "--only-license",
    multiple=True,
    metavar="PATTERN",
    help="License to use, such as 'CC0*'; may be given several times. Letter case is ignored.",
)


@click.group()
def prepare() -> None:
    """Get speech and noise ready: 16 kHz FLAC and a manifest, for `lite-rtse train` and `evaluate`.

    What was converted already is kept, so that the same command continues a run that was cut off.
    """


@prepare.command()
@_TARGET
@click.option(
    "--debs", type=click.Path(path_type=Path), help="Folder of .deb files to use; nothing is fetched or verified then."
)
@click.option("--suite", default="trixie", show_default=True, help="Debian release for what the system's own lacks.")
@click.option("--more", is_flag=True, help="Train on fifty more voices and more noise, too: another 1.3 GB.")
@_ONLY_LICENSE
def debian(target: Path, debs: Path | None, suite: str, more: bool, only_license: tuple[str, ...]) -> None:
    """Speech and noise that Debian and Ubuntu ship as packages: 1.8 hours of speech, half an hour of noise.

    Fetches about 90 MB with apt, as an ordinary user, and installs nothing. Needs Debian or Ubuntu.

    \b
    lite-rtse prepare debian --more --out debian
    """
    with one_line():
        from lite_rtse_ext.data.prepare.debian.prepare import prepare_debian

        _summarize(
            prepare_debian(target, more=more, debs=debs, suite=suite, only_license=only_license, report=click.echo)
        )


@prepare.command("vctk-demand")
@click.argument("root", type=click.Path(path_type=Path))
@_TARGET
@_REFUSE
def vctk_demand(root: Path, target: Path, refuse_damaged: bool) -> None:
    """The VCTK-DEMAND corpus, whose archives are unpacked in ROOT.

    \b
    lite-rtse prepare vctk-demand VCTK-DEMAND --out vctk-demand
    """
    with one_line():
        from lite_rtse_ext.data.prepare.vctk_demand import prepare_vctk_demand

        _summarize(prepare_vctk_demand(root, target, refuse=refuse_damaged, report=click.echo))


@prepare.command()
@click.option("--speech", type=click.Path(path_type=Path), required=True, help="Folder of clean speech.")
@click.option("--noise", type=click.Path(path_type=Path), required=True, help="Folder of noise without speech.")
@click.option("--rooms", type=click.Path(path_type=Path), help="Folder of room impulse responses.")
@_TARGET
@_VALID
@_TEST
@_MIXTURES
@click.option(
    "--license", "--licence", "license", default="unknown", show_default=True, help="Recorded in the manifest."
)
@_REFUSE
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
    with one_line():
        from lite_rtse_ext.data.prepare.folders import FolderOptions, prepare_folders

        options = FolderOptions(valid_share, test_share, mixtures=mixtures, license=license, refuse=refuse_damaged)
        _summarize(prepare_folders(target, speech=speech, noise=noise, rooms=rooms, options=options, report=click.echo))


@prepare.command()
@click.option("--noisy", type=click.Path(path_type=Path), required=True, help="Folder of noisy recordings.")
@click.option("--clean", type=click.Path(path_type=Path), required=True, help="Folder of the same speech, clean.")
@_TARGET
@_VALID
@_TEST
@_REFUSE
def pairs(noisy: Path, clean: Path, target: Path, valid_share: float, test_share: float, refuse_damaged: bool) -> None:
    """Your own noisy recordings with their clean ones: two folders with files of the same names, in any formats.

    Pairs that differ in length or rate, that are swapped, the same, unrelated or silent are named and left out. First
    sub-folders tell speakers, and a speaker is in one split only, where there are several.

    \b
    lite-rtse prepare pairs --noisy noisy/ --clean clean/ --out mine
    """
    with one_line():
        from lite_rtse_ext.data.prepare.pairs import prepare_pairs
        from lite_rtse_ext.data.prepare.splits import Shares

        shares = Shares(valid_share, test_share)
        _summarize(
            prepare_pairs(target, noisy=noisy, clean=clean, shares=shares, refuse=refuse_damaged, report=click.echo)
        )


@prepare.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_TARGET
@click.option(
    "--leave-out", multiple=True, metavar="PATTERN", help="Label, speaker or language not to take, such as 'rain*'."
)
@_ONLY_LICENSE
@_VALID
@_TEST
@_MIXTURES
@_REFUSE
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
    with one_line():
        from lite_rtse_ext.data.prepare.collection import CollectionOptions, prepare_collection
        from lite_rtse_ext.data.prepare.splits import Shares

        shares = Shares(valid_share, test_share)
        options = CollectionOptions(shares, leave_out, only_license, mixtures=mixtures, refuse=refuse_damaged)
        _summarize(prepare_collection(target, folder, options=options, report=click.echo))


@prepare.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", "target", type=click.Path(path_type=Path), required=True, help="Manifest to write.")
@click.option(
    "--judge-by",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Source whose validation and test files are used; by default all.",
)
@click.option(
    "--only-license",
    multiple=True,
    metavar="PATTERN",
    help="License of training files to use, such as 'CC-BY-4*'. Letter case is ignored.",
)
def join(sources: tuple[Path, ...], target: Path, judge_by: tuple[Path, ...], only_license: tuple[str, ...]) -> None:
    """One manifest of several: SOURCES are manifests in folders beside the new one. No audio is copied.

    \b
    lite-rtse prepare join debian/manifest.json mine/manifest.json --out both.json
    """
    with one_line():
        from lite_rtse_ext.data.prepare.join import join_manifests

        joined = join_manifests(target, sources, judge_by=judge_by, only_license=only_license, report=click.echo)
        _summarize(joined, target)


@prepare.command()
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to add to, or to fill; made if need be.",
)
@click.option("--count", type=click.IntRange(1, 10**6), required=True, help="Number of rooms, with a response each.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Another one, other rooms."
)
def rooms(target: Path, count: int, seed: int) -> None:
    """Simulated room responses for training, added to the manifest of a prepared folder.

    Needs the extra `rooms`. One room takes about a third of a second. What another command wrote into the folder is
    kept. That command leaves the rooms out of the manifest when it runs again; run this one after it.

    \b
    lite-rtse prepare rooms --count 500 --out mine
    """
    with one_line():
        from lite_rtse_ext.data.prepare.rooms import prepare_rooms

        _summarize(prepare_rooms(target, count=count, seed=seed, report=click.echo))


def _summarize(manifest: Manifest, path: Path | None = None) -> None:
    from lite_rtse_ext.data.manifest import KINDS, SPLITS
    from lite_rtse_ext.signal import SAMPLE_RATE_HZ

    for split in SPLITS:
        parts = []
        for kind in KINDS:
            clips = manifest.select(kind, split)
            if clips:
                minutes = sum(clip.frames for clip in clips) / SAMPLE_RATE_HZ / 60
                parts.append(f"{kind} {minutes:.1f} min in {len(clips)} files")
        pairs = [pair for pair in manifest.pairs if pair.split == split]
        if pairs:
            hours = sum(pair.frames for pair in pairs) / SAMPLE_RATE_HZ / 3600
            parts.append(f"{len(pairs)} pairs, {hours:.2f} h")
        mixtures = sum(mixture.split == split for mixture in manifest.mixtures)
        if mixtures:
            parts.append(f"{mixtures} fixed mixtures")
        click.echo(f"{split + ':':<7}{', '.join(parts) or 'nothing'}")
    click.echo(f"manifest: {path or manifest.root / 'manifest.json'}")
