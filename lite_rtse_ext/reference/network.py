"""The whole network in plain PyTorch, as published."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.reference.functional import magnitude
from lite_rtse_ext.reference.modules import ConvBlock, MaskResidual, MultiOrderConv
from lite_rtse_ext.signal import BINS, Signal

__all__ = ["LiteRTSE", "States"]

_LSTMState = tuple[Tensor, Tensor] | None
States = tuple[_LSTMState, _LSTMState]
"""States of the network's two LSTMs between two pieces of a signal. Each is None before the first piece."""


class LiteRTSE(SpectrogramModel):
    """The network: 1,559,245 parameters by default, 1,577,101 with ``depthwise=False``.

    ::

        m  = |X|                                           magnitude
        Y1 = m · sigmoid(fc1(lstm1(m)))                    masking
        Y2 = Multi-Order(Conv-Block(Conv-Block(m)))        1 → 32 → 32 → 1 channels
        Z  = lstm2(fc2([m, Y1, Y2]))                       fusion
        R  = to_mag(Z), to_real(Z), to_imag(Z)             residual; no activation
        S  = mask_residual(X, mask, R)                     reconstruction

    Args:
        bins: F, the number of frequency bins. It is 257 for a 512-point transform.
        channels: C of the Multi-Order block. The Conv-Blocks have C / 2 channels.
        order: order of the Multi-Order block.
        depthwise: False gives the variant whose Conv-Blocks have a full 3×3 convolution.
    """

    architecture: ClassVar[str] = "lite-rtse"

    # The classes of the network's blocks. The fused network replaces them.
    conv_block: ClassVar[type[ConvBlock]] = ConvBlock
    multi_order_conv: ClassVar[type[MultiOrderConv]] = MultiOrderConv
    reconstruction: ClassVar[type[MaskResidual]] = MaskResidual

    def __init__(self, bins: int = BINS, channels: int = 64, order: int = 5, depthwise: bool = True) -> None:
        super().__init__()
        self.bins, self.channels, self.order, self.depthwise = bins, channels, order, depthwise
        self.signal = Signal(n_fft=2 * (bins - 1), hop_length=bins - 1)
        self.lstm1 = nn.LSTM(bins, bins, batch_first=True)
        self.fc1 = nn.Linear(bins, bins)
        self.msmo_conv = nn.Sequential(
            self.conv_block(1, channels // 2, depthwise),
            self.conv_block(channels // 2, channels // 2, depthwise),
            self.multi_order_conv(channels, order),
        )
        self.fc2 = nn.Linear(3 * bins, bins)
        self.lstm2 = nn.LSTM(bins, bins, batch_first=True)
        self.to_mag, self.to_real, self.to_imag = (nn.Linear(bins, bins) for _ in range(3))
        self.mask_residual = self.reconstruction()

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Enhance a noisy spectrogram.

        If there are no frames (T = 0), the result is empty and does not depend on the parameters.

        Args:
            spectrogram: (B, F, T, 2) or complex (B, F, T).

        Returns:
            The enhanced spectrogram, in the same layout.

        Raises:
            ValueError: the spectrogram has another shape or does not have ``bins`` frequency bins.
        """
        self._check(spectrogram)
        return self._compute(spectrogram)

    def _compute(self, spectrogram: Tensor) -> Tensor:
        """Enhance a spectrogram whose shape has been checked."""
        if spectrogram.shape[2] == 0:  # an LSTM takes no empty sequence
            return spectrogram.clone()
        return self.advance(spectrogram)[0]

    @property
    def context_frames(self) -> int:
        """Left context of the convolutions in frames: the sum of their kt - 1, which is 28 in the default network."""
        return sum(conv.kernel_size[0] - 1 for conv in self.msmo_conv.modules() if isinstance(conv, nn.Conv2d))

    def advance(self, spectrogram: Tensor, before: int = 0, states: States | None = None) -> tuple[Tensor, States]:
        """Enhance the frames from ``before`` on, and return the states of the LSTMs after them.

        Args:
            spectrogram: as in ``forward``, with at least one frame after the first ``before`` frames.
            before: the number of frames at the beginning that serve only as left context of the convolutions.
            states: the states of the two LSTMs at frame ``before``. The call for the preceding frames returned them.
                None at the beginning of a signal.

        Returns:
            The enhanced spectrogram without the first ``before`` frames, and the states after its last frame.
        """
        mask_state, fusion_state = states or (None, None)
        mag = magnitude(spectrogram)
        features = self.msmo_conv(mag.unsqueeze(1)).squeeze(1)[:, before:]
        spectrogram, mag = spectrogram[:, :, before:], mag[:, before:]
        hidden, mask_state = self.run_lstm(self.lstm1, mag, mask_state)
        mask_logit = self.fc1(hidden)
        masked = mag * torch.sigmoid(mask_logit)
        fused = self.fc2(torch.cat([mag, masked, features], dim=-1))
        z, fusion_state = self.run_lstm(self.lstm2, fused, fusion_state)
        enhanced = self.mask_residual(spectrogram, mask_logit, self.to_mag(z), self.to_real(z), self.to_imag(z))
        return enhanced, (mask_state, fusion_state)

    def run_lstm(self, lstm: nn.LSTM, x: Tensor, state: _LSTMState) -> tuple[Tensor, _LSTMState]:
        """Run one of the two LSTMs on (B, T, F)."""
        return lstm(x, state)  # type: ignore[no-any-return]

    def _check(self, spectrogram: Tensor) -> None:
        shape = tuple(spectrogram.shape)
        if spectrogram.is_complex():
            fits, want = len(shape) == 3 and shape[1] == self.bins, f"(B, {self.bins}, T)"
        else:
            fits, want = len(shape) == 4 and shape[1::2] == (self.bins, 2), f"(B, {self.bins}, T, 2)"
        if not fits:
            kind = "complex" if spectrogram.is_complex() else "real"
            raise ValueError(f"a {kind} spectrogram must be {want}, but is {shape}")

    def extra_repr(self) -> str:
        return f"bins={self.bins}, channels={self.channels}, order={self.order}, depthwise={self.depthwise}"
