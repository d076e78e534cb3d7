"""Drop-in modules on the fused operators.

Constructors, initialization and state-dict keys are those of :mod:`lite_rtse_ext.reference`. For ``GRU``, ``LSTM``,
``Linear``, ``Conv1d``, ``ConvTranspose2d``, ``BatchNorm1d``, ``BatchNorm2d`` and ``PReLU`` they are those of
``torch.nn``.

The convolutions are ordinary child modules that hold the parameters. The operator reads the parameters, and does not
call the children. A block calls them in plain PyTorch while one of them is replaced, as by an adapter, or has hooks.
The hooks with which pruning and the older weight and spectral norm compute a weight do not hinder the operator.

The operators raise the errors. The message names an argument with a wrong shape, dtype or device.

Under ``torch.jit.trace`` and ``torch.onnx.export`` the modules compute in plain PyTorch. The graph then runs without
this package. ``torch.jit.script`` is refused.
"""

from lite_rtse_ext.utils.extras import require_torch

require_torch(__name__)

from lite_rtse_ext.nn import blocks
from lite_rtse_ext.nn.blocks import *
from lite_rtse_ext.nn.conv1d import Conv1d
from lite_rtse_ext.nn.conv_transpose2d import ConvTranspose2d
from lite_rtse_ext.nn.gru import GRU
from lite_rtse_ext.nn.linear import Linear
from lite_rtse_ext.nn.lstm import LSTM
from lite_rtse_ext.nn.norm_prelu import BatchNorm1d, BatchNorm2d, PReLU

__all__ = ["GRU", "LSTM", "BatchNorm1d", "BatchNorm2d", "Conv1d", "ConvTranspose2d", "Linear", "PReLU", *blocks.__all__]
