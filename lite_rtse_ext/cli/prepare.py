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
_REFUSE = click.option("--refuse-damaged", is_flag=True, help="Stop at a file that is damaged, instead of naming it.")


@click.group()
def prepare() -> None:
    """Get speech and noise ready: 16 kHz FLAC and a manifest, for `lite-rtse train` and `evaluate`.

    What was converted already is kept, so that the same command continues a run that was cut off.
    """


@prepare.command()
@_TARGET
@click.option("--debs", type=click.Path(path_type=Path), help="Folder of .deb files to use; nothing is fetched then.")
@click.option("--suite", default="trixie", show_default=True, help="Debian release for what the system's own lacks.")
@click.option("--more", is_flag=True, help="Train on fifty more voices and more noise, too: another 1.3 GB.")
def debian(target: Path, debs: Path | None, suite: str, more: bool) -> None:
    """Speech and noise that Debian and Ubuntu ship as packages: 1.8 hours of speech, half an hour of noise.

    Fetches about 90 MB with apt, as an ordinary user, and installs nothing. Needs Debian or Ubuntu.

    \b
    lite-rtse prepare debian --more --out debian
    """
    with one_line():
        from lite_rtse_ext.data.debian import prepare_debian

        _summarise(prepare_debian(target, more=more, debs=debs, suite=suite, report=click.echo))


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
        from lite_rtse_ext.data.vctk import prepare_vctk_demand

        _summarise(prepare_vctk_demand(root, target, refuse=refuse_damaged, report=click.echo))


@prepare.command()
@click.option("--speech", type=click.Path(path_type=Path), required=True, help="Folder of clean speech.")
@click.option("--noise", type=click.Path(path_type=Path), required=True, help="Folder of noise without speech.")
@click.option("--rooms", type=click.Path(path_type=Path), help="Folder of room impulse responses.")
@_TARGET
@click.option("--valid-share", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="For validation.")
@click.option("--test-share", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="For the test.")
@click.option("--mixtures", type=click.IntRange(min=1), default=60, show_default=True, help="Fixed mixtures of either.")
@click.option("--licence", default="unknown", show_default=True, help="Recorded in the manifest.")
@_REFUSE
def folders(
    speech: Path,
    noise: Path,
    rooms: Path | None,
    target: Path,
    valid_share: float,
    test_share: float,
    mixtures: int,
    licence: str,
    refuse_damaged: bool,
) -> None:
    """Your own recordings: a folder of speech and one of noise, in any format.

    First sub-folders tell speakers and kinds of noise. Long noise is cut into stretches for training, validation and
    test; other files go to one of them by their name.

    \b
    lite-rtse prepare folders --speech speech/ --noise noise/ --out mine
    """
    with one_line():
        from lite_rtse_ext.data.folders import FolderOptions, prepare_folders

        options = FolderOptions(valid_share, test_share, mixtures=mixtures, licence=licence, refuse=refuse_damaged)
        _summarise(prepare_folders(target, speech=speech, noise=noise, rooms=rooms, options=options, report=click.echo))


def _summarise(manifest: Manifest) -> None:
    from lite_rtse_ext.audio.stft import SAMPLE_RATE_HZ
    from lite_rtse_ext.data.manifest import KINDS, SPLITS

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
    click.echo(f"manifest: {manifest.root / 'manifest.json'}")
