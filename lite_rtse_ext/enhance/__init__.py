"""Enhancing waveforms, files and pipes: the only way from waveform to spectrogram, through a network, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lite_rtse_ext.utils.lazy import lazy

if TYPE_CHECKING:
    from lite_rtse_ext.enhance.conversion import Enhanced
    from lite_rtse_ext.enhance.files import enhance_file
    from lite_rtse_ext.enhance.segments import enhance_segments, look_back_frames
    from lite_rtse_ext.enhance.streaming import stream_file, stream_pipe

__all__ = [
    "Enhanced",
    "enhance_file",
    "enhance_segments",
    "look_back_frames",
    "stream_file",
    "stream_pipe",
]

__getattr__ = lazy(
    __name__,
    {
        "conversion": ("Enhanced",),
        "files": ("enhance_file",),
        "segments": ("enhance_segments", "look_back_frames"),
        "streaming": ("stream_file", "stream_pipe"),
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
