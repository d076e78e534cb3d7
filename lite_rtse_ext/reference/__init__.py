"""Operators, modules and the whole network in plain PyTorch. They define what the fused operators compute.

Lite-RTSE (Lite-RTSE: Exploring a Cost-Effective Lite DNN Model for Real-Time Speech Enhancement in RTC Scenarios)
enhances 16 kHz speech in the short-time spectrum. It has two stages: a mask on the magnitude, then a residual of
magnitude and phase. Parameter names are those of the public unofficial implementation, so its checkpoints load.

Everything here is differentiable to any order, in any floating dtype, on any device. All tests compare with it, and it
defines the second derivatives. :mod:`lite_rtse_ext.nn` and :mod:`lite_rtse_ext.models.lite_rtse` derive from these
classes and replace only the arithmetic of the blocks.

Layouts: a spectrogram ``X`` is (B, F, T, 2) with real and imaginary part last, or complex (B, F, T). Features are
(B, C, T, F). B is the number of utterances, C of channels, T of frames and F of frequency bins. Everything is causal:
frame t of any output depends on frames <= t only.
"""

from lite_rtse_ext.utils.extras import require_torch

require_torch(__name__)

from lite_rtse_ext.reference import convolutions, network, norms, recurrent, spectrum
from lite_rtse_ext.reference.convolutions import *
from lite_rtse_ext.reference.network import *
from lite_rtse_ext.reference.norms import *
from lite_rtse_ext.reference.recurrent import *
from lite_rtse_ext.reference.spectrum import *

__all__ = [*convolutions.__all__, *network.__all__, *norms.__all__, *recurrent.__all__, *spectrum.__all__]
