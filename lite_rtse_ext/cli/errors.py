"""What a user sees of an error: one line on stderr that names the file and says what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import click

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
    except BrokenPipeError:  # nobody reads on: click ends the command without a word, as is the custom
        raise
    except (OSError, ValueError, RuntimeError, MemoryError, ImportError) as error:
        raise click.ClickException(describe(error)) from error


def require_packages(purpose: str, extra: str, names: Iterable[str]) -> None:
    """Raises an ImportError that says what to install, if one of these packages is missing."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ImportError(f"{purpose} needs {', '.join(missing)}: pip install 'lite-rtse-ext[{extra}]'")
