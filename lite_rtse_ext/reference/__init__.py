"""Operators, modules and the whole network in plain PyTorch: what the fused operators compute, written to be read.

Lite-RTSE (Lite-RTSE: Exploring a Cost-Effective Lite DNN Model for Real-Time Speech Enhancement in RTC Scenarios)
enhances 16 kHz speech in the short-time spectrum in two stages: a mask on the magnitude, then a residual of
magnitude and phase. Parameter names are those of the public unofficial implementation, so its checkpoints load.

Everything here is differentiable any number of times, in any floating dtype, on any device. It is the oracle of every
test and the definition of second derivatives. :mod:`lite_rtse_ext.nn` and :mod:`lite_rtse_ext.models.lite_rtse` derive
from these classes and replace the blocks' arithmetic alone.

Layouts: spectrogram ``X`` (B, F, T, 2), real and imaginary part last, or complex (B, F, T); features (B, C, T, F), with
B utterances, C channels, T frames and F frequency bins. Causal: frame t of any output depends on frames <= t only.
"""

from lite_rtse_ext.reference.functional import (
    causal_dwconv2d,
    causal_padding,
    complex_gain,
    conv_block,
    gate_channels,
    lstm,
    magnitude,
    mask_residual,
    multi_order_conv,
)
from lite_rtse_ext.reference.modules import CausalDepthwiseConv2d, ConvBlock, MaskResidual, MultiOrderConv
from lite_rtse_ext.reference.network import LiteRTSE, States

__all__ = [
    "CausalDepthwiseConv2d",
    "ConvBlock",
    "LiteRTSE",
    "MaskResidual",
    "MultiOrderConv",
    "States",
    "causal_dwconv2d",
    "causal_padding",
    "complex_gain",
    "conv_block",
    "gate_channels",
    "lstm",
    "magnitude",
    "mask_residual",
    "multi_order_conv",
]
