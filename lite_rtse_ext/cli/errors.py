"""What a user sees of an error: one line on stderr that names the file and says what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import click

from lite_rtse_ext.utils.extras import needs_torch

_LINE_ENDS = re.compile(r"\s*\n\s*")  # with the indentation that libraries give what follows


def describe(error: Exception) -> str:
    """An exception as one line."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        return printable(f"{name}{error.strerror}")
    return printable(_LINE_ENDS.sub(" ", str(error).strip())) or type(error).__name__


def printable(text: str) -> str:
    """A text that any terminal can show: names may hold line ends, control characters and bytes that are no text."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


@contextmanager
def one_line() -> Iterator[None]:
    """Turns what bad input and a lack of means raise (a file, a value, a device, memory, a library) into one line,
    exit code 1.

    Other exceptions are faults of this program and keep their traceback.
    """
    try:
        yield
    except (BrokenPipeError, click.Abort, click.exceptions.Exit):  # click ends the command without a word, or says why
        raise
    except ImportError as error:
        raise click.ClickException(needs_torch("this command", error) or describe(error)) from error
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise click.ClickException(describe(error)) from error
