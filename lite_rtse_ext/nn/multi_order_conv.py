"""Module of the fused operator ``multi_order_conv``."""

from __future__ import annotations

from torch import Tensor

from lite_rtse_ext import ops, reference
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere


class MultiOrderConv(NotScriptable, reference.MultiOrderConv):
    """Fused Multi-Order block. See :class:`lite_rtse_ext.reference.MultiOrderConv`.

    State-dict keys: ``pwconv1.*``, ``pwconvN.*``, ``pwconvs.k.*``, ``dwconvs.k.1.*``.
    """

    def forward(self, x: Tensor) -> Tensor:
        if is_for_elsewhere():
            return super().forward(x)
        return ops.multi_order_conv(x, *self.operands())
