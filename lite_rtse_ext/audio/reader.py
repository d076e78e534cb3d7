"""What all that reads sound has in common: blocks of samples that are numbers, and some of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.formats import AudioError, AudioFormat

BLOCK_FRAMES = 65_536


class Reader(Protocol):
    """An opened file or pipe, whose samples can be had once."""

    name: str
    format: AudioFormat

    def blocks(self, block_frames: int = ..., /) -> Iterator[NDArray[np.float32]]:
        """Blocks ``(frames, channels)`` of at most ``block_frames``, float32, full scale 1.

        Raises:
            AudioError: the samples are damaged, there are none, or one is NaN or infinite.
        """
        ...

    def drain(self) -> None:
        """Takes what follows the samples, so that whoever writes it into a pipe does not find the pipe closed."""


def split(samples: NDArray[np.float32], block_frames: int = BLOCK_FRAMES) -> Iterator[NDArray[np.float32]]:
    """An array ``(frames, ...)`` in blocks."""
    return (samples[start : start + block_frames] for start in range(0, len(samples), block_frames))


def checked_blocks(
    name: str, blocks: Iterable[NDArray[np.float32]], block_frames: int
) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of at most ``block_frames``.

    Raises:
        AudioError: there are none, or one is NaN or infinite; begins with ``name``.
    """
    done = 0
    for block in blocks:
        finite = np.isfinite(block)
        if not finite.all():
            frame, channel = np.argwhere(~finite)[0]
            raise AudioError(f"{name}: sample {done + frame} of channel {channel} is {block[frame, channel]}")
        done += len(block)
        yield from split(block, block_frames)
    if not done:
        raise AudioError(f"{name}: holds no samples")
