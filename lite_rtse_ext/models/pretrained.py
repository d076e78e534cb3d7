"""Locates the trained parameters that the package contains. Needs no torch, as the streaming engine needs none."""

from __future__ import annotations

import errno
from pathlib import Path

__all__ = ["pretrained_path"]

_WEIGHTS = Path(__file__).parent / "weights" / "lite-rtse.safetensors"


def pretrained_path() -> Path:
    """The safetensors file that is used if no other file is given.

    Raises:
        FileNotFoundError: this version of the package contains no trained parameters.
    """
    if not _WEIGHTS.is_file():
        raise FileNotFoundError(errno.ENOENT, "no trained parameters come with this version: give a checkpoint")
    return _WEIGHTS
