"""Module of the fused operator ``causal_dwconv2d``."""

from __future__ import annotations

from torch import Tensor

from lite_rtse_ext import ops, reference
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere


class CausalDepthwiseConv2d(NotScriptable, reference.CausalDepthwiseConv2d):
    """Fused causal depthwise convolution. See :class:`lite_rtse_ext.reference.CausalDepthwiseConv2d`.

    State-dict keys: ``weight`` (C, 1, kt, kf), ``bias`` (C,).
    """

    def forward(self, x: Tensor) -> Tensor:
        if is_for_elsewhere():
            return super().forward(x)
        return ops.causal_dwconv2d(x, self.weight, self.bias)
