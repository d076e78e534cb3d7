"""``lite-rtse prepare``."""

from __future__ import annotations

import click

from lite_rtse_ext.cli.folder import Folder


@click.group(cls=Folder, package="lite_rtse_ext.data.prepare.sources")
def prepare() -> None:
    """Get speech and noise ready: 16 kHz FLAC and a manifest, for `lite-rtse train` and `evaluate`.

    What was converted already is kept, so that the same command continues a run that was cut off.
    """
