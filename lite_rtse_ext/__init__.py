"""Lite-RTSE speech enhancement with fused kernels.

The package has three entry points. `LiteRTSE` is the network with fused operators. `fuse(model)` puts them into your
own model. The operators can also be called directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lite_rtse_ext.utils.lazy import lazy

if TYPE_CHECKING:
    from lite_rtse_ext.fusion import fuse, unfuse
    from lite_rtse_ext.interface import SpectrogramModel
    from lite_rtse_ext.models.lite_rtse import LiteRTSE
    from lite_rtse_ext.ops import (
        causal_dwconv2d,
        conv_block,
        gru,
        lstm,
        mask_residual,
        multi_order_conv,
        norm_prelu,
        pointwise_conv,
    )
    from lite_rtse_ext.stream import Streamer

__version__ = "0.1.0"

_OPERATORS = (
    "causal_dwconv2d",
    "conv_block",
    "gru",
    "lstm",
    "mask_residual",
    "multi_order_conv",
    "norm_prelu",
    "pointwise_conv",
)
__all__ = [
    "LiteRTSE",
    "SpectrogramModel",
    "Streamer",
    "causal_dwconv2d",
    "conv_block",
    "fuse",
    "gru",
    "lstm",
    "mask_residual",
    "multi_order_conv",
    "norm_prelu",
    "pointwise_conv",
    "unfuse",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "fusion": ("fuse", "unfuse"),
        "interface": ("SpectrogramModel",),
        "models.lite_rtse": ("LiteRTSE",),
        "ops": _OPERATORS,
        "stream": ("Streamer",),
        **dict.fromkeys(("audio", "enhance", "models", "nn", "reference"), ()),
    },
)
