"""Sound in and out: spectrograms, audio files, sample rates, and enhancing whole files."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lite_rtse_ext.audio.convert import Enhanced
    from lite_rtse_ext.audio.enhance import enhance_file
    from lite_rtse_ext.audio.high_pass import remove_offset
    from lite_rtse_ext.audio.io import AudioError, AudioFormat, AudioWarning, read, read_blocks, read_format, write
    from lite_rtse_ext.audio.resample import resample
    from lite_rtse_ext.audio.segments import enhance_segments, look_back_frames
    from lite_rtse_ext.audio.stft import istft, stft
    from lite_rtse_ext.audio.streaming import stream_file, stream_pipe

__all__ = [
    "AudioError",
    "AudioFormat",
    "AudioWarning",
    "Enhanced",
    "enhance_file",
    "enhance_segments",
    "istft",
    "look_back_frames",
    "read",
    "read_blocks",
    "read_format",
    "remove_offset",
    "resample",
    "stft",
    "stream_file",
    "stream_pipe",
    "write",
]

# Loaded at first use: some need torch, files and the streaming engine do not.
_HOME = {"Enhanced": "convert", "enhance_file": "enhance", "remove_offset": "high_pass", "resample": "resample"}
_HOME |= dict.fromkeys(("AudioError", "AudioFormat", "AudioWarning"), "formats")
_HOME |= dict.fromkeys(("read", "read_blocks", "read_format", "write"), "io")
_HOME |= dict.fromkeys(("enhance_segments", "look_back_frames"), "segments")
_HOME |= dict.fromkeys(("istft", "stft"), "stft") | dict.fromkeys(("stream_file", "stream_pipe"), "streaming")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """``stft`` and ``resample`` are functions here, which importing the modules of these names leaves alone."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
