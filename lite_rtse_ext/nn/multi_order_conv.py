"""Module of the fused operator ``multi_order_conv``."""

from __future__ import annotations

from torch import Tensor

from lite_rtse_ext import ops, reference


class MultiOrderConv(reference.MultiOrderConv):
    """Multi-Order block, fused; see :class:`lite_rtse_ext.reference.MultiOrderConv`.

    Keys: ``pwconv1.*``, ``pwconvN.*``, ``pwconvs.k.*``, ``dwconvs.k.1.*``.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.multi_order_conv(x, *self.operands())
