"""Module of the fused operator ``mask_residual``."""

from __future__ import annotations

from torch import Tensor

from lite_rtse_ext import ops, reference
from lite_rtse_ext.utils.tracing import NotScriptable, is_for_elsewhere


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
