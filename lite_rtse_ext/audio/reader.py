"""The common interface of audio readers. Every reader yields blocks of finite samples, and at least one sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.formats import AudioError, AudioFormat

BLOCK_FRAMES = 65_536


class Reader(Protocol):
    """An opened file or pipe. Its samples can be read once."""

    name: str
    format: AudioFormat

    def blocks(self, block_frames: int = ..., /) -> Iterator[NDArray[np.float32]]:
        """Yield blocks ``(frames, channels)`` of at most ``block_frames`` frames, float32, full scale 1.

        Raises:
            AudioError: the samples are damaged, there are none, or one is NaN or infinite.
        """
        ...

    def drain(self) -> None:
        """Read the data behind the samples, so that a process that writes it does not find the pipe closed."""


def split(samples: NDArray[np.float32], block_frames: int = BLOCK_FRAMES) -> Iterator[NDArray[np.float32]]:
    """Split an array ``(frames, ...)`` into blocks of at most ``block_frames`` frames."""
    return (samples[start : start + block_frames] for start in range(0, len(samples), block_frames))


def checked_blocks(
    name: str, blocks: Iterable[NDArray[np.float32]], block_frames: int
) -> Iterator[NDArray[np.float32]]:
    """Yield the same samples in blocks of at most ``block_frames`` frames.

    Raises:
        AudioError: there are no samples, or one is NaN or infinite. The message begins with ``name``.
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
