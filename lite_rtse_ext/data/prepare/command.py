"""What the commands of the sources share: options, and the summary of a manifest."""

from __future__ import annotations

from pathlib import Path

import click

from lite_rtse_ext.data.manifest import KINDS, SPLITS, Manifest
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.path_name import PathName

TARGET = click.option("--out", "target", type=PathName(), required=True, help="Folder to fill; made if need be.")
ADDED_TO = click.option(
    "--out",
    "target",
    type=PathName(),
    required=True,
    help="Folder to add to, or to fill; made if need be.",
)
REFUSE = click.option(
    "--refuse-damaged", is_flag=True, help="Stop at a file that is damaged or silent, instead of naming it."
)
VALID_SHARE = click.option(
    "--valid-share", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="For validation."
)
TEST_SHARE = click.option(
    "--test-share", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="For the test."
)
MIXTURES = click.option(
    "--mixtures", type=click.IntRange(min=1), default=60, show_default=True, help="Fixed mixtures of either."
)
ONLY_LICENSE = click.option(
    "--only-license",
    multiple=True,
    metavar="PATTERN",
    help="License to use, such as 'CC0*'; may be given several times. Letter case is ignored.",
)


def summarize(manifest: Manifest, path: Path | None = None) -> None:
    """Tell how much of what a manifest lists, and where it is.

    Args:
        manifest: the manifest.
        path: its file. By default ``manifest.json`` in its folder.
    """
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
