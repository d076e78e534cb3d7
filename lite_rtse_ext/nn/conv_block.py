"""Module of the fused operator ``conv_block``."""

from __future__ import annotations

from torch import Tensor

from lite_rtse_ext import ops, reference
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere


class ConvBlock(NotScriptable, reference.ConvBlock):
    """Fused Conv-Block. See :class:`lite_rtse_ext.reference.ConvBlock`.

    With ``depthwise=False`` it runs PyTorch's own convolutions. There is no fused operator for a full 3×3 convolution.
    Unlike a depthwise convolution it is a matrix product, which oneDNN and cuDNN already compute efficiently.

    State-dict keys: ``conv.0.*``, ``conv.2.*``, ``conv.3.*``, ``skip.*``.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.depthwise or is_for_elsewhere():
            return super().forward(x)
        return ops.conv_block(x, *self.operands())
