"""Audio input and output: files, pipes, resampling and spectrograms. This subpackage does not depend on a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lite_rtse_ext.utils.lazy import lazy

if TYPE_CHECKING:
    from lite_rtse_ext.audio.formats import AudioError, AudioFormat, AudioWarning
    from lite_rtse_ext.audio.high_pass import remove_offset
    from lite_rtse_ext.audio.io import read, read_blocks, read_format, write
    from lite_rtse_ext.audio.resampling import resample
    from lite_rtse_ext.audio.spectrogram import istft, stft

__all__ = [
    "AudioError",
    "AudioFormat",
    "AudioWarning",
    "istft",
    "read",
    "read_blocks",
    "read_format",
    "remove_offset",
    "resample",
    "stft",
    "write",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "formats": ("AudioError", "AudioFormat", "AudioWarning"),
        "high_pass": ("remove_offset",),
        "io": ("read", "read_blocks", "read_format", "write"),
        "resampling": ("resample",),
        "spectrogram": ("istft", "stft"),
    },
)
