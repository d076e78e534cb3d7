"""Sound in and out: spectrograms, audio files, sample rates, and enhancing whole files."""

from lite_rtse_ext.audio.enhance import Enhanced, enhance_file
from lite_rtse_ext.audio.io import AudioError, AudioFormat, read, read_blocks, read_format, write
from lite_rtse_ext.audio.resample import resample
from lite_rtse_ext.audio.segments import enhance_segments, look_back_frames
from lite_rtse_ext.audio.stft import istft, stft

__all__ = [
    "AudioError",
    "AudioFormat",
    "Enhanced",
    "enhance_file",
    "enhance_segments",
    "istft",
    "look_back_frames",
    "read",
    "read_blocks",
    "read_format",
    "resample",
    "stft",
    "write",
]
