"""Enhancement of waveforms, files and pipes.

All code that enhances a waveform uses this subpackage: the transform, the network and the inverse transform.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lite_rtse_ext.utils.lazy import lazy

if TYPE_CHECKING:
    from lite_rtse_ext.enhance.conversion import Enhanced
    from lite_rtse_ext.enhance.files import enhance_file
    from lite_rtse_ext.enhance.streaming import stream_file, stream_pipe
    from lite_rtse_ext.enhance.waveform import SEGMENT_FRAMES, enhance_waveform, usual_segment

__all__ = [
    "SEGMENT_FRAMES",
    "Enhanced",
    "enhance_file",
    "enhance_waveform",
    "stream_file",
    "stream_pipe",
    "usual_segment",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "conversion": ("Enhanced",),
        "files": ("enhance_file",),
        "streaming": ("stream_file", "stream_pipe"),
        "waveform": ("SEGMENT_FRAMES", "enhance_waveform", "usual_segment"),
    },
)
