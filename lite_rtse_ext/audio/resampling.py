"""Sample rates, through soxr: linear phase, no delay, and lengths that come out exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from lite_rtse_ext.utils.arguments import Real, sample_rate_hz

_MOST_RATE_HZ = 2**31 - 1  # libsndfile's


def length_at(frames: int, source_rate: int, target_rate: int) -> int:
    """Frames at ``target_rate`` that cover ``frames`` at ``source_rate``: the exact ratio, rounded up."""
    return -(-frames * target_rate // source_rate)


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], source_rate: Real, target_rate: Real, frames: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Blocks ``(frames, channels)`` of one signal at another sample rate.

    Args:
        blocks: the signal, cut anywhere: the cuts leave no trace.
        source_rate: its rate, a whole number of Hz of any numeric type.
        target_rate: the rate wanted, likewise.
        frames: length wanted, at ``target_rate``; the signal is taken to go on in silence. By default what covers the
            whole signal, :func:`length_at`.

    Yields:
        blocks ``(frames, channels)``, float32, in all exactly ``frames`` long.

    Raises:
        TypeError: a rate is no number.
        ValueError: a rate is no positive whole number.
    """
    source_rate = sample_rate_hz(source_rate, "source_rate", least=1, most=_MOST_RATE_HZ)
    target_rate = sample_rate_hz(target_rate, "target_rate", least=1, most=_MOST_RATE_HZ)
    stream: soxr.ResampleStream | None = None
    received = sent = channels = 0
    for block in blocks:
        received += len(block)
        channels = block.shape[1]
        if source_rate != target_rate:
            stream = stream or soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32")
            block = stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        if frames is not None:
            block = block[: frames - sent]
        sent += len(block)
        if len(block):
            yield block
    wanted = length_at(received, source_rate, target_rate) if frames is None else frames
    if sent == wanted or not channels:
        return
    # soxr rounds the length to the nearest; enough silence behind the signal makes it at least what is wanted.
    silence_frames = max(0, length_at(wanted, target_rate, source_rate) + 1 - received)
    tail = np.zeros((silence_frames, channels), dtype=np.float32)
    if stream is not None:
        tail = stream.resample_chunk(tail, last=True)
    yield tail[: wanted - sent]


def resample(
    samples: NDArray[np.float32], source_rate: Real, target_rate: Real, frames: int | None = None
) -> NDArray[np.float32]:
    """A whole signal ``(frames,)`` or ``(frames, channels)`` at another rate; see :func:`resample_blocks`."""
    columns = samples if samples.ndim == 2 else samples[:, None]
    blocks = list(resample_blocks([columns], source_rate, target_rate, frames))
    result = np.concatenate(blocks) if blocks else columns[:0]
    return result if samples.ndim == 2 else result[:, 0]
