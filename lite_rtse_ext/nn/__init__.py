"""Drop-in modules on the fused operators.

Constructors, initialisation and state-dict keys are those of :mod:`lite_rtse_ext.reference`, and for ``LSTM`` those of
``torch.nn.LSTM``. The convolutions are ordinary children that hold the parameters. The operator reads those; the
children's own forwards, and hooks on them, don't run, except the hooks by which pruning and the older weight and
spectral norm compute a weight. Errors are the operators': a wrong shape, dtype or device is named.

Under ``torch.jit.trace`` and ``torch.onnx.export`` the modules compute in plain PyTorch, so that the graph runs where
this package is not installed. ``torch.jit.script`` is refused.
"""

from lite_rtse_ext.nn.causal_dwconv2d import CausalDepthwiseConv2d
from lite_rtse_ext.nn.conv_block import ConvBlock
from lite_rtse_ext.nn.lstm import LSTM
from lite_rtse_ext.nn.mask_residual import MaskResidual
from lite_rtse_ext.nn.multi_order_conv import MultiOrderConv

__all__ = ["LSTM", "CausalDepthwiseConv2d", "ConvBlock", "MaskResidual", "MultiOrderConv"]
