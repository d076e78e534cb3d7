"""What the sources share that make sounds themselves and add them to a prepared folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lite_rtse_ext.data.manifest import Clip, Manifest

__all__ = ["MOST_COUNT", "MOST_SEED", "manifest_before", "require_limits", "save_made"]

MOST_COUNT, MOST_SEED = 10**6, 2**32 - 1


def require_limits(seed: int, **counts: int) -> None:
    """Check a seed, and counts by their names.

    Raises:
        ValueError: a count is not 1 to 1,000,000, or the seed is not 0 to 2^32 - 1.
    """
    limits = {name: (value, 1, MOST_COUNT) for name, value in counts.items()} | {"seed": (seed, 0, MOST_SEED)}
    for name, (value, least, most) in limits.items():
        if not least <= value <= most:
            raise ValueError(f"{name}: expected a whole number, {least} to {most}, got {value}")


def manifest_before(target: Path, name: str) -> Manifest:
    """Return the manifest of a folder, or an empty one of this name if the folder has none.

    Raises:
        OSError: the file can't be read.
        ManifestError: the file ``manifest.json`` is not a manifest.
    """
    path = target / "manifest.json"
    return Manifest.load(path) if path.exists() else Manifest(target, name)


def save_made(before: Manifest, folder: str, clips: Iterable[Clip]) -> Manifest:
    """Save the manifest of a folder with these clips in place of all others below ``folder``, and return it.

    Raises:
        OSError: the file can't be written.
    """
    others = tuple(clip for clip in before.clips if not clip.path.startswith(f"{folder}/"))
    manifest = replace(before, clips=(*others, *clips))
    manifest.save(before.root / "manifest.json")
    return manifest
