"""Lite-RTSE speech enhancement with fused kernels.

The package has three entry points. `LiteRTSE` is the network with fused operators. `fuse(model)` puts them into your
own model. `lite_rtse_ext.ops` has the operators as functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lite_rtse_ext.utils.lazy import lazy

if TYPE_CHECKING:
    from lite_rtse_ext.fusion import fuse, unfuse
    from lite_rtse_ext.interface import SpectrogramModel
    from lite_rtse_ext.models.lite_rtse import LiteRTSE
    from lite_rtse_ext.stream import Streamer

__version__ = "0.1.0"

__all__ = [
    "LiteRTSE",
    "SpectrogramModel",
    "Streamer",
    "fuse",
    "unfuse",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "fusion": ("fuse", "unfuse"),
        "interface": ("SpectrogramModel",),
        "models.lite_rtse": ("LiteRTSE",),
        "stream": ("Streamer",),
        **dict.fromkeys(("audio", "enhance", "models", "nn", "ops", "reference"), ()),
    },
)
