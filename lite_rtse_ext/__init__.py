"""Lite-RTSE speech enhancement with fused kernels.

Three ways in: `LiteRTSE`, the network on fused operators; `fuse(model)`, which swaps them into a model of your own; and the
operators themselves.
"""

from lite_rtse_ext.fuse import fuse, unfuse
from lite_rtse_ext.model import LiteRTSE
from lite_rtse_ext.ops import causal_dwconv2d, conv_block, mask_residual, multi_order_conv

__version__ = "0.1.0"

__all__ = [
    "LiteRTSE",
    "causal_dwconv2d",
    "conv_block",
    "fuse",
    "mask_residual",
    "multi_order_conv",
    "unfuse",
]
