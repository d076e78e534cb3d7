"""Enhancement of audio files with PyTorch, on any device."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from lite_rtse_ext.audio.dry_wet import enhanced_share, limit_db, wet_share
from lite_rtse_ext.audio.high_pass import remove_offset
from lite_rtse_ext.audio.io import Reader, split
from lite_rtse_ext.enhance.conversion import Blocks, Enhanced, file_to_file
from lite_rtse_ext.enhance.spectra import BandGain, highest_quarter
from lite_rtse_ext.enhance.waveform import enhance_waveform, usual_segment
from lite_rtse_ext.enhance.wide_band import add_wide_band
from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.stream.resampling import convert
from lite_rtse_ext.utils.arguments import Real, switch


def enhance_file(
    model: SpectrogramModel,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    attenuation_limit_db: Real | None = None,
    wet: Real = 1.0,
    high_pass: bool = True,
    link_channels: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Enhanced:
    """Enhance an audio file and write the result to another one.

    The network works at its own sample rate. Other rates are converted to it and back. A network for 16 kHz hears
    nothing above 8 kHz. What a 44.1 or 48 kHz file holds there passes with the gain of 6 to 8 kHz; see
    :mod:`lite_rtse_ext.enhance.wide_band`.

    The file is processed in segments of 1024 frames, 16 s with Lite-RTSE, unless the network needs the whole recording.
    With segments, the memory is that of one segment, of the waveform at the network's rate, and at another rate of the
    waveform itself. Measured with Lite-RTSE: 130 MB for a minute of mono, and for each further minute 10 MB at 16 kHz
    and 23 MB at 48 kHz.

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
        attenuation_limit_db: maximum attenuation of the noise in dB. None and infinity mean no limit.
        wet: share of the enhanced signal in the result, 0 to 1. The rest is the noisy signal.
        high_pass: whether a high-pass at 2 Hz first removes a constant offset from every channel; see
            :func:`lite_rtse_ext.audio.remove_offset`.
        link_channels: whether all channels get one common gain, so that their differences in level and time remain. The
            network then hears the root mean square of their magnitudes. Otherwise each channel is enhanced
            independently.
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
        TypeError: ``overwrite``, ``high_pass`` or ``link_channels`` is neither True nor False.
    """
    share = enhanced_share(wet_share(wet), limit_db(attenuation_limit_db))
    link, high_pass = switch(link_channels, "link_channels"), switch(high_pass, "high_pass")
    # The filter runs in place if the unfiltered signal is not needed again. The copy is freed before the result exists.
    in_place = high_pass and share == 1

    def enhanced(reader: Reader) -> Blocks:
        channels, rate, own = reader.format.channels, reader.format.sample_rate, model.signal.sample_rate
        full = np.concatenate(list(reader.blocks()))
        converts = rate != own
        noisy = convert(full, rate, own) if converts else full
        gains: list[NDArray[np.float32]] = []
        groups = [slice(channels)] if link else [slice(channel, channel + 1) for channel in range(channels)]
        for group in groups:
            waveform = torch.from_numpy(noisy[:, group].T)
            heard = waveform.clone() if in_place and converts else waveform
            if in_place:
                heard.copy_(remove_offset(heard, own))
            width = len(waveform)
            band = BandGain(highest_quarter(model.signal, rate)) if converts else None
            result = enhance_waveform(
                model,
                heard,
                segment_frames=usual_segment(model),
                wet=share,
                high_pass=high_pass and not in_place,
                link_channels=link,
                band=band,
                progress=partial(_report, progress, width / own / channels) if progress else None,
            )
            if band and len(full):
                gain = band.at_samples(share, model.signal)
                gains += width * [gain]
                result -= torch.from_numpy(gain[: len(noisy)]) * waveform
            noisy[:, group] = result.numpy().T
        yield from add_wide_band(noisy, gains, own, full, rate) if converts else split(noisy)

    return file_to_file(source, target, overwrite, enhanced)


def _report(progress: Callable[[float], None], seconds_per_sample: float, samples: int) -> None:
    progress(samples * seconds_per_sample)
