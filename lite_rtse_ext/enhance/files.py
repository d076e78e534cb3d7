"""From a noisy audio file to an enhanced one through PyTorch, on any device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from lite_rtse_ext.audio.high_pass import remove_offset
from lite_rtse_ext.audio.io import Reader, split
from lite_rtse_ext.audio.resampling import resample_blocks
from lite_rtse_ext.enhance.conversion import Blocks, Enhanced, file_to_file
from lite_rtse_ext.enhance.waveform import enhance_waveform, usual_segment
from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.signal import SAMPLE_RATE_HZ


def enhance_file(
    model: SpectrogramModel,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    high_pass: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Enhanced:
    """Enhance an audio file and write the result to another one.

    Every channel is enhanced by itself, at 16 kHz; other sample rates are converted there and back. The network knows
    nothing above 8 kHz, so from a 44.1 or 48 kHz file the result holds that file's rate but no content above 8 kHz.

    The work is done in segments of 16 s, unless the network needs the whole recording. Memory then is that of a segment
    and of the waveform at 16 kHz: measured, 130 MB for a minute of mono and 9 MB more for each further minute.

    Besides samples, the result takes over tags, and the speaker layout of a WAV. Other chunks (cue points, broadcast
    data, pictures) are not written.

    Args:
        model: the network; its device and dtype are used.
        source: the noisy file, of any kind that libsndfile reads, or PyAV where it is installed; with up to 64
            channels at 1 kHz to 1 MHz. A named pipe or a device is read as a WAV in a pipe is.
        target: the file to write. With the suffix of ``source`` it has the same format and sample type where these can
            be written (for mp3, ogg and opus the encoder's usual quality, whatever the source's was); another suffix
            asks for another format, which keeps the bit depth where it can. A sample type that can't be kept is told
            by an :class:`lite_rtse_ext.audio.AudioWarning`.
        overwrite: whether ``target`` may exist already. It is replaced when the new one is complete, not before.
        high_pass: whether a high-pass at 2 Hz takes a constant offset out of every channel first; see
            :func:`lite_rtse_ext.audio.remove_offset`.
        progress: called now and then with the seconds of audio finished since the last call (0 to all of the file).

    Raises:
        OSError: a file or folder is missing or not allowed.
        FileExistsError: ``target`` exists and ``overwrite`` is false.
        AudioError: ``source`` is not usable audio, ``target`` can't hold it, both are the same file, or the network's
            result is not finite.
    """

    def enhanced(reader: Reader) -> Blocks:
        channels = reader.format.channels
        noisy, frames = _read_at_16k(reader)
        report = (lambda samples: progress(samples / SAMPLE_RATE_HZ / channels)) if progress else None
        for channel in range(channels):
            waveform = torch.from_numpy(noisy[:, channel])
            if high_pass:
                waveform.copy_(remove_offset(waveform))  # here, in place: its copy is gone before the result is made
            noisy[:, channel] = enhance_waveform(
                model, waveform, segment_frames=usual_segment(model), progress=report, high_pass=False
            ).numpy()
        yield from resample_blocks(split(noisy), SAMPLE_RATE_HZ, reader.format.sample_rate, frames)

    return file_to_file(source, target, overwrite, enhanced)


def _read_at_16k(reader: Reader) -> tuple[NDArray[np.float32], int]:
    """The sound at 16 kHz, (samples, channels), and its number of frames at its own rate: counted, not the header's."""
    frames = 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal frames
        for block in reader.blocks():
            frames += len(block)
            yield block

    samples = np.concatenate(list(resample_blocks(counted(), reader.format.sample_rate, SAMPLE_RATE_HZ)))
    return samples, frames
