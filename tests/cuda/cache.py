"""Files made by a compiler, kept in ``build`` beside this file under a hash of all that went into them."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.simt.build import locked, prune

OUT = Path(__file__).parent / "build"


class BuildError(Exception):
    """A tool's messages."""


def run(command: Sequence[str | Path]) -> str:
    """What a command prints.

    Raises:
        BuildError: it failed, or printed a warning that it was told to treat as an error.
    """
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{Path(command[0]).name}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@cache
def _version(compiler: str) -> str:
    return run([compiler, "--version"])


def produce(name: str, suffix: str, command: Sequence[str | Path], inputs: Sequence[Path]) -> Path:
    """The result of ``command -o result``, made unless it is there already.

    Args:
        name: its file's name begins with it; one result of a name is made at a time.
        suffix: of the file's name.
        command: all of it but for the result. Inputs in it count by what they say, not by where they lie.
        inputs: the files that the result depends on.
    """
    contents = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs}
    words = [contents.get(str(word), str(word)) for word in command[1:]]
    digest = hashlib.sha256(repr((_version(str(command[0])), words, sorted(contents.values()))).encode())
    result = OUT / f"{name}-{digest.hexdigest()[:20]}{suffix}"
    with locked(OUT / f"{name}.lock"):
        if result.exists():
            os.utime(result)
            return result
        prune(OUT)
        unfinished = result.with_suffix(f".{os.getpid()}")
        run([*command, "-o", unfinished])
        os.replace(unfinished, result)
    return result
