"""The blocks on the fused operators. Each replaces only the forward of its class in ``lite_rtse_ext.reference``."""

from __future__ import annotations

from torch import Tensor

from lite_rtse_ext import ops, reference
from lite_rtse_ext.reference.operands import are_plain
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere

__all__ = ["CausalDepthwiseConv2d", "ConvBlock", "MaskResidual", "MultiOrderConv"]


class CausalDepthwiseConv2d(NotScriptable, reference.CausalDepthwiseConv2d):
    """Fused causal depthwise convolution. See :class:`lite_rtse_ext.reference.CausalDepthwiseConv2d`.

    State-dict keys: ``weight`` (C, 1, kt, kf), ``bias`` (C,).
    """

    def forward(self, x: Tensor) -> Tensor:
        if is_for_elsewhere():
            return super().forward(x)
        return ops.causal_dwconv2d(x, self.weight, self.bias, self.dilation[0])


class ConvBlock(NotScriptable, reference.ConvBlock):
    """Fused Conv-Block. See :class:`lite_rtse_ext.reference.ConvBlock`.

    With ``depthwise=False`` it runs PyTorch's own convolutions. There is no fused operator for a full 3×3 convolution.
    Unlike a depthwise convolution it is a matrix product, which oneDNN and cuDNN already compute efficiently.

    State-dict keys: ``conv.0.*``, ``conv.2.*``, ``conv.3.*``, ``skip.*``.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.depthwise or is_for_elsewhere() or not are_plain(self.convolutions()):
            return super().forward(x)
        return ops.conv_block(x, *self.operands())


class MultiOrderConv(NotScriptable, reference.MultiOrderConv):
    """Fused Multi-Order block. See :class:`lite_rtse_ext.reference.MultiOrderConv`.

    State-dict keys: ``pwconv1.*``, ``pwconvN.*``, ``pwconvs.k.*``, ``dwconvs.k.1.*``.
    """

    def forward(self, x: Tensor) -> Tensor:
        if is_for_elsewhere() or not are_plain(self.convolutions()):
            return super().forward(x)
        return ops.multi_order_conv(x, *self.operands())


class MaskResidual(NotScriptable, reference.MaskResidual):
    """Fused reconstruction. See :class:`lite_rtse_ext.reference.MaskResidual`.

    Unlike those of the reference, its gradients are finite on digital silence. It has no parameters.
    """

    def forward(
        self, spectrogram: Tensor, mask_logit: Tensor, res_mag: Tensor, res_real: Tensor, res_imag: Tensor
    ) -> Tensor:
        if is_for_elsewhere():
            return reference.mask_residual(spectrogram, mask_logit, res_mag, res_real, res_imag)
        return ops.mask_residual(spectrogram, mask_logit, res_mag, res_real, res_imag)
