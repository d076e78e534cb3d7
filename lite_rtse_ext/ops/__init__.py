"""The fused operators as functions.

Each operator has one file with its Python function, its shapes for tracing and its gradients.
"""

from lite_rtse_ext.utils.extras import require_torch

require_torch(__name__)

from lite_rtse_ext.ops._causal_dwconv2d import causal_dwconv2d
from lite_rtse_ext.ops._conv_block import conv_block
from lite_rtse_ext.ops._gru import gru
from lite_rtse_ext.ops._lstm import lstm
from lite_rtse_ext.ops._mask_residual import mask_residual
from lite_rtse_ext.ops._multi_order_conv import multi_order_conv
from lite_rtse_ext.ops._native import available, has_cuda, isa, isas
from lite_rtse_ext.ops._norm_prelu import norm_prelu
from lite_rtse_ext.ops._pointwise_conv import pointwise_conv

__all__ = [
    "available",
    "causal_dwconv2d",
    "conv_block",
    "gru",
    "has_cuda",
    "isa",
    "isas",
    "lstm",
    "mask_residual",
    "multi_order_conv",
    "norm_prelu",
    "pointwise_conv",
]
