"""Cuts prepared recordings into stretches for several splits, and long speech into utterances at its pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.data.prepare.batch import is_current
from lite_rtse_ext.data.prepare.convert import read_back, write_flac
from lite_rtse_ext.data.prepare.faults import silence
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.file_names import target_path
from lite_rtse_ext.utils.workers import Lost, run_in_order

__all__ = ["CUT_FRAMES", "Cut", "Piece", "cut_all", "utterances"]

CUT_FRAMES = 20 * SAMPLE_RATE_HZ
"""Recordings of at least this many samples are cut."""

_FRAME = SAMPLE_RATE_HZ // 100
_SMOOTHED_FRAMES = 20
"""A pause is a place where the mean power over 0.2 s is low. Shorter gaps are closures within words."""


@dataclass(frozen=True)
class Cut:
    """How a recording is cut up.

    Args:
        path: the prepared file.
        folder: the folder for its pieces.
        name: path below that folder. The names of the pieces begin with it.
        stretches: for each split the first sample of its part, and the end, which is the first sample after it. A
            recording that is used whole is not written again.
        into_utterances: also cut each part at its pauses.
    """

    path: Path
    folder: Path
    name: PurePath
    stretches: Mapping[str, tuple[int, int]]
    into_utterances: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the recording stays in one piece."""
        return len(self.stretches) == 1 and not self.into_utterances


@dataclass(frozen=True)
class Piece:
    """A part of a recording: its split, its file, its length in samples, and whether it is silent."""

    split: str
    path: Path
    frames: int
    silent: bool = False


def cut_all(cuts: Sequence[Cut], report: Callable[[str], None]) -> Iterator[list[Piece]]:
    """Write the pieces of each recording, unless they exist already. Silent pieces are reported and left out.

    Args:
        cuts: the recordings and how they are cut.
        report: function that is called with one line about anything left out.

    Yields:
        The pieces of each recording, in the order of ``cuts``.

    Raises:
        OSError: a piece can't be written.
    """
    results = run_in_order(_cut, [cut for cut in cuts if not cut.is_whole])
    for cut in cuts:
        if cut.is_whole:
            ((split, (start, stop)),) = cut.stretches.items()
            yield [Piece(split, cut.path, stop - start)]
            continue
        result = next(results)
        if isinstance(result, Lost):
            report(f"left out: {cut.path}: {result.reason}")
            yield []
            continue
        silent = [piece for piece in result if piece.silent]
        if silent:
            report(f"left out: {len(silent)} of {len(result)} pieces of {cut.path}, which are silent")
        yield [piece for piece in result if not piece.silent]


def _cut(cut: Cut) -> list[Piece]:
    samples = read_back(cut.path)
    pieces = []
    for split, (start, stop) in cut.stretches.items():
        part = samples[start:stop]
        mark = f".{split}" if len(cut.stretches) > 1 else ""
        bounds = utterances(part) if cut.into_utterances else [(0, len(part))]
        for number, (first, last) in enumerate(bounds):
            suffix = f"{mark}.{number:04}.flac" if cut.into_utterances else f"{mark}.flac"
            path = cut.folder / target_path(cut.name, suffix)
            piece = part[first:last]
            silent = silence(piece) is not None
            if not silent and not is_current(cut.path, path, len(piece)):
                write_flac(path, piece)
            pieces.append(Piece(split, path, len(piece), silent))
    return pieces


def utterances(
    samples: NDArray[np.float32], shortest_seconds: float = 4.0, longest_seconds: float = 10.0
) -> list[tuple[int, int]]:
    """Divide a recording into consecutive pieces without gaps, cut where its power is lowest.

    Args:
        samples: the recording, float32 ``(samples,)``, at 16 kHz.
        shortest_seconds: shortest piece in seconds. The last pieces may have half of it.
        longest_seconds: longest piece in seconds.

    Returns:
        The first sample of each piece, and its end, which is the first sample after it.
    """
    shortest, longest = (round(seconds * SAMPLE_RATE_HZ) for seconds in (shortest_seconds, longest_seconds))
    level = _smoothed_power(samples)
    pieces, start = [], 0
    while len(samples) - start > longest:
        left = len(samples) - start
        first, last = min(shortest, left // 2), min(longest, left - shortest // 2)
        window = level[(start + first) // _FRAME : (start + last) // _FRAME]
        end = start + first + int(np.argmin(window)) * _FRAME
        pieces.append((start, end))
        start = end
    return [*pieces, (start, len(samples))]


def _smoothed_power(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    frames = len(samples) // _FRAME
    power = np.square(samples[: frames * _FRAME], dtype=np.float64).reshape(frames, _FRAME).mean(1)
    return np.convolve(power, np.ones(_SMOOTHED_FRAMES) / _SMOOTHED_FRAMES, "same")
