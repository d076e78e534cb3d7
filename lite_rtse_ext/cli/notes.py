"""What a user sees of a warning about audio: one line on stderr, once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

CLEAR_LINE = "\033[1G\033[K"  # of a progress bar; click takes it out again where stderr is no terminal


@contextmanager
def told() -> Iterator[None]:
    """Writes each different :class:`lite_rtse_ext.audio.AudioWarning` to stderr."""
    from lite_rtse_ext.audio.formats import AudioWarning

    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, AudioWarning):
                click.echo(f"{CLEAR_LINE}Note: {message}", err=True)
            else:
                others(message, category, *where, **more)

        warnings.simplefilter("default", AudioWarning)
        warnings.showwarning = show
        yield
