"""Resampling with soxr: linear phase, no shift in time, and exact lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from lite_rtse_ext.utils.arguments import Real, sample_rate_hz

Quality = Literal["QQ", "LQ", "MQ", "HQ", "VHQ"]
QUALITIES: tuple[Quality, ...] = ("QQ", "LQ", "MQ", "HQ", "VHQ")
_MOST_RATE_HZ = 2**31 - 1  # libsndfile's


def length_at(frames: int, source_rate: int, target_rate: int) -> int:
    """Return how many frames at ``target_rate`` cover ``frames`` at ``source_rate``: the exact ratio, rounded up."""
    return -(-frames * target_rate // source_rate)


class StreamResampler:
    """Resamples a signal block by block. The filter has linear phase: output comes later, but is not shifted in time.

    Args:
        source_rate: sample rate of the signal in Hz.
        target_rate: sample rate of the result in Hz.
        channels: number of channels of blocks ``(frames, channels)``; None for blocks ``(frames,)``.
        quality: soxr's quality setting.

    Attributes:
        received: number of frames taken so far.
        sent: number of frames returned so far.
    """

    def __init__(
        self, source_rate: int, target_rate: int, channels: int | None = None, quality: Quality = "HQ"
    ) -> None:
        self._rates = source_rate, target_rate
        self._shape = () if channels is None else (channels,)
        self._quality = quality
        self.reset()

    def reset(self) -> None:
        """Begin a new signal."""
        self._stream: soxr.ResampleStream | None = None
        if self._rates[0] != self._rates[1]:
            channels = self._shape[0] if self._shape else 1
            self._stream = soxr.ResampleStream(*self._rates, channels, dtype="float32", quality=self._quality)
        self.received = self.sent = 0

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take a block and return the resampled frames that are ready, float32."""
        ready = self._converted(np.ascontiguousarray(block, dtype=np.float32))
        self.received += len(block)
        self.sent += len(ready)
        return ready

    def finish(self, frames: int | None = None) -> NDArray[np.float32]:
        """Return the rest of the signal, float32. The signal is assumed to continue with silence.

        Args:
            frames: total number of frames of the result. By default the number that covers the whole signal.
        """
        source_rate, target_rate = self._rates
        wanted = length_at(self.received, source_rate, target_rate) if frames is None else frames
        # soxr rounds the length to the nearest number. Silence behind the signal ensures that it is long enough.
        silence_frames = max(0, length_at(wanted, target_rate, source_rate) + 1 - self.received)
        silence = np.zeros((silence_frames, *self._shape), np.float32)
        rest = self._converted(silence, last=True)
        return rest[: max(0, wanted - self.sent)]

    def _converted(self, block: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        if self._stream is None:
            return block
        ready: NDArray[np.float32] = self._stream.resample_chunk(block, last=last)
        return ready


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], source_rate: Real, target_rate: Real, frames: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Resample one signal block by block.

    Args:
        blocks: blocks ``(frames, channels)``. The division into blocks does not affect the result.
        source_rate: sample rate of the signal in Hz, a whole number of any numeric type.
        target_rate: sample rate of the result in Hz, likewise.
        frames: total number of frames of the result. The signal is assumed to continue with silence. By default the
            number that covers the whole signal, :func:`length_at`.

    Yields:
        Blocks ``(frames, channels)``, float32, with exactly ``frames`` frames in total.

    Raises:
        TypeError: a sample rate is not a number.
        ValueError: a sample rate is not a positive whole number.
    """
    source_rate = sample_rate_hz(source_rate, "source_rate", least=1, most=_MOST_RATE_HZ)
    target_rate = sample_rate_hz(target_rate, "target_rate", least=1, most=_MOST_RATE_HZ)
    stream: StreamResampler | None = None
    sent = 0
    for block in blocks:
        stream = stream or StreamResampler(source_rate, target_rate, block.shape[1])
        ready = stream.push(block)
        if frames is not None:
            ready = ready[: frames - sent]
        sent += len(ready)
        if len(ready):
            yield ready
    if stream is not None:
        rest = stream.finish(frames)
        if len(rest):
            yield rest


def resample(
    samples: NDArray[np.float32], source_rate: Real, target_rate: Real, frames: int | None = None
) -> NDArray[np.float32]:
    """Resample a whole signal with soxr.

    Args:
        samples: ``(frames,)`` or ``(frames, channels)``.
        source_rate, target_rate, frames: as in :func:`resample_blocks`.

    Returns:
        The resampled signal, float32, with as many dimensions as ``samples``.

    Raises:
        TypeError, ValueError: as :func:`resample_blocks`.
    """
    columns = samples if samples.ndim == 2 else samples[:, None]
    blocks = list(resample_blocks([columns], source_rate, target_rate, frames))
    result = np.concatenate(blocks) if blocks else columns[:0]
    return result if samples.ndim == 2 else result[:, 0]
