"""Enhancement of audio files with PyTorch, on any device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from lite_rtse_ext.audio.dry_wet import enhanced_share, limit_db, wet_share
from lite_rtse_ext.audio.high_pass import remove_offset
from lite_rtse_ext.audio.io import Reader, split
from lite_rtse_ext.audio.resampling import resample_blocks
from lite_rtse_ext.enhance.conversion import Blocks, Enhanced, file_to_file
from lite_rtse_ext.enhance.waveform import enhance_waveform, usual_segment
from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.utils.arguments import Real


def enhance_file(
    model: SpectrogramModel,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    attenuation_limit_db: Real | None = None,
    wet: Real = 1.0,
    high_pass: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Enhanced:
    """Enhance an audio file and write the result to another one.

    Each channel is enhanced independently, at the network's sample rate. Other rates are converted to it and back. A
    network for 16 kHz processes no content above 8 kHz. Its result of a 44.1 or 48 kHz file therefore has none above
    8 kHz, but it keeps the file's sample rate.

    The file is processed in segments of 1024 frames, 16 s with Lite-RTSE, unless the network needs the whole recording.
    With segments, the memory is that of one segment and of the waveform at the network's rate. Measured with
    Lite-RTSE: 130 MB for a minute of mono, and 9 MB for each further minute.

    The result keeps the tags, and the speaker layout of a WAV. Other chunks (cue points, broadcast data, pictures) are
    not written.

    Args:
        model: the network. Its device and dtype are used.
        source: the noisy file, of any kind that libsndfile reads, or PyAV if it is installed. It may have up to 64
            channels and a sample rate of 1 kHz to 1 MHz. A named pipe or a device is read like a pipe that contains a
            WAV.
        target: the file to write. With the suffix of ``source`` it has the same format and sample type if these can be
            written. For mp3, ogg and opus the encoder's default quality is used, for any quality of the source. Another
            suffix selects another format, which keeps the bit depth if possible. If the sample type changes, an
            :class:`lite_rtse_ext.audio.AudioWarning` says so.
        overwrite: whether ``target`` may already exist. It is replaced only when the new file is complete.
        attenuation_limit_db: maximum attenuation of the noise in dB, or None for no limit.
        wet: share of the enhanced signal in the result, 0 to 1. The rest is the noisy signal.
        high_pass: whether a high-pass at 2 Hz first removes a constant offset from every channel; see
            :func:`lite_rtse_ext.audio.remove_offset`.
        progress: called repeatedly with the seconds of audio finished since the last call. One call may report nothing
            (0) or the whole file.

    Returns:
        The duration of the audio and the elapsed time.

    Raises:
        OSError: a file or folder is missing or not accessible.
        FileExistsError: ``target`` exists and ``overwrite`` is false.
        AudioError: ``source`` is not usable audio, ``target`` can't hold it, both are the same file, or the network's
            result is not finite.
        TypeError, ValueError: ``wet`` or ``attenuation_limit_db`` has a wrong type or is out of range.
    """
    limit, share = limit_db(attenuation_limit_db), wet_share(wet)
    # The filter runs in place if the unfiltered signal is not needed again. The copy is freed before the result exists.
    in_place = high_pass and enhanced_share(share, limit) == 1

    def enhanced(reader: Reader) -> Blocks:
        channels, rate = reader.format.channels, model.signal.sample_rate
        noisy, frames = _read_at(reader, rate)
        report = (lambda samples: progress(samples / rate / channels)) if progress else None
        for channel in range(channels):
            waveform = torch.from_numpy(noisy[:, channel])
            if in_place:
                waveform.copy_(remove_offset(waveform, rate))
            noisy[:, channel] = enhance_waveform(
                model,
                waveform,
                segment_frames=usual_segment(model),
                attenuation_limit_db=limit,
                wet=share,
                high_pass=high_pass and not in_place,
                progress=report,
            ).numpy()
        yield from resample_blocks(split(noisy), rate, reader.format.sample_rate, frames)

    return file_to_file(source, target, overwrite, enhanced)


def _read_at(reader: Reader, rate: int) -> tuple[NDArray[np.float32], int]:
    """Read the audio at a sample rate, ``(samples, channels)``, and its number of frames at its own sample rate.

    The frames are counted. The header's number may be wrong.
    """
    frames = 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal frames
        for block in reader.blocks():
            frames += len(block)
            yield block

    samples = np.concatenate(list(resample_blocks(counted(), reader.format.sample_rate, rate)))
    return samples, frames
