"""The whole network in plain PyTorch, as published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from lite_rtse_ext.interface import SpectrogramModel, placement
from lite_rtse_ext.reference import frame
from lite_rtse_ext.reference.convolutions import ConvBlock, MultiOrderConv
from lite_rtse_ext.reference.spectrum import MaskResidual, compressed, magnitude
from lite_rtse_ext.signal import BINS, Signal
from lite_rtse_ext.utils.arguments import real_number, switch

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
        compression: exponent p of the magnitudes that the layers read. With p < 1 soft sounds are less soft.
        mask_branch: whether Y2 is also added to the logit of the mask. As published, it reaches the residual alone.

    With ``compression`` or ``mask_branch``, every layer reads magnitudes through one function, and two buffers of shape
    (F,) are added to the parameters. The buffers are 0 and 1 until training measures them::

        read(m) = ((m² + 1e-8)^(p/2) - input_mean) · input_scale
        L  = fc1(lstm1(read(m))) + Y2                      logit of the mask, with mask_branch
        Z  = lstm2(fc2([read(m), read(Y1), Y2]))           fusion

    Raises:
        TypeError: ``compression`` is not a real number, or ``depthwise`` or ``mask_branch`` is neither True nor False.
        ValueError: ``compression`` is not above 0 and at most 1.
    """

    input_mean: Tensor
    input_scale: Tensor

    min_gain: tuple[float, ...] | None = None
    """The minimum gain that is part of the parameters, if known; see :mod:`lite_rtse_ext.models.min_gain`.

    ``load_state_dict`` leaves it as it is. The methods that read files set it.
    """

    architecture: ClassVar[str] = "lite-rtse"

    # The classes of the network's blocks. The fused network replaces them.
    conv_block: ClassVar[type[ConvBlock]] = ConvBlock
    multi_order_conv: ClassVar[type[MultiOrderConv]] = MultiOrderConv
    reconstruction: ClassVar[type[MaskResidual]] = MaskResidual

    def __init__(
        self,
        bins: int = BINS,
        channels: int = 64,
        order: int = 5,
        depthwise: bool = True,
        compression: float = 1.0,
        mask_branch: bool = False,
    ) -> None:
        super().__init__()
        expected = "a number above 0 and at most 1"
        self.compression = real_number(compression, "compression", expected)
        if not 0 < self.compression <= 1:
            raise ValueError(f"compression: expected {expected}, got {compression}")
        self.bins, self.channels, self.order = bins, channels, order
        self.depthwise, self.mask_branch = switch(depthwise, "depthwise"), switch(mask_branch, "mask_branch")
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
        if self.standardized:
            self.register_buffer("input_mean", torch.zeros(bins))
            self.register_buffer("input_scale", torch.ones(bins))

    @property
    def standardized(self) -> bool:
        """Whether the layers read magnitudes through :meth:`read`. If not, the network is the published one."""
        return self.compression != 1 or self.mask_branch

    def read(self, mag: Tensor) -> Tensor:
        """Compress and standardize magnitudes (..., F), as the layers read them."""
        if not self.standardized:
            return mag
        return (compressed(mag, self.compression) - self.input_mean) * self.input_scale

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
        levels = self.read(mag)
        features = self.run_branch(levels)[:, before:]
        spectrogram, mag, levels = spectrogram[:, :, before:], mag[:, before:], levels[:, before:]
        hidden, mask_state = self.run_lstm(self.lstm1, levels, mask_state)
        mask_logit = self.run_linear(self.fc1, hidden)
        if self.mask_branch:
            mask_logit = mask_logit + features
        masked = self.read(mag * torch.sigmoid(mask_logit))
        fused = self.run_linear(self.fc2, torch.cat([levels, masked, features], dim=-1))
        z, fusion_state = self.run_lstm(self.lstm2, fused, fusion_state)
        residual = (self.run_linear(layer, z) for layer in (self.to_mag, self.to_real, self.to_imag))
        enhanced = self.mask_residual(spectrogram, mask_logit, *residual)
        return enhanced, (mask_state, fusion_state)

    def start(self, batch: int = 1) -> dict[str, Tensor]:
        device, dtype = placement(self)
        shapes = frame.memory_shapes(self)
        return {name: torch.zeros(batch, *shape, device=device, dtype=dtype) for name, shape in shapes.items()}

    def next_frame(self, spectrum: Tensor, memory: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return frame.next_frame(self, spectrum, memory)

    def run_branch(self, levels: Tensor) -> Tensor:
        """Run the convolution branch on (B, T, F)."""
        features: Tensor = self.msmo_conv(levels.unsqueeze(1)).squeeze(1)
        return features

    def run_lstm(self, lstm: nn.LSTM, x: Tensor, state: _LSTMState) -> tuple[Tensor, _LSTMState]:
        """Run one of the two LSTMs on (B, T, F)."""
        return lstm(x, state)  # type: ignore[no-any-return]

    def run_linear(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """Run one of the linear layers on (B, T, its inputs)."""
        return layer(x)  # type: ignore[no-any-return]

    def _check(self, spectrogram: Tensor) -> None:
        shape = tuple(spectrogram.shape)
        if spectrogram.is_complex():
            fits, want = len(shape) == 3 and shape[1] == self.bins, f"(B, {self.bins}, T)"
        else:
            fits, want = len(shape) == 4 and shape[1::2] == (self.bins, 2), f"(B, {self.bins}, T, 2)"
        if not fits:
            kind = "complex" if spectrogram.is_complex() else "real"
            raise ValueError(f"spectrogram: expected {want} for a {kind} one, got {shape}")

    def extra_repr(self) -> str:
        sizes = f"bins={self.bins}, channels={self.channels}, order={self.order}, depthwise={self.depthwise}"
        return f"{sizes}, compression={self.compression}, mask_branch={self.mask_branch}"
