"""A check that the files of a manifest exist and have the length that it states."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.audiofile import AudioCache
from lite_rtse_ext.data.manifest import Manifest

__all__ = ["check_files"]

_WORKERS = 8


def check_files(manifest: Manifest, *, decode: bool = False) -> dict[str, str]:
    """Check every file of a manifest.

    Args:
        manifest: the data.
        decode: decode each file completely. Otherwise only headers and last samples are read, which show most faults.

    Returns:
        The fault of each faulty file, by its path in the manifest.
    """

    def fault(entry: tuple[str, int]) -> str | None:
        path, frames = entry
        try:
            AudioCache().read(manifest.path(path), frames, 0 if decode else frames - 1)
        except AudioError as error:
            return str(error)
        except OSError as error:
            return f"{manifest.path(path)}: {error.strerror}"
        return None

    files = list(manifest.files())
    with ThreadPoolExecutor(_WORKERS) as pool:
        faults = pool.map(fault, files)
        return {path: what for (path, _), what in zip(files, faults, strict=True) if what is not None}
