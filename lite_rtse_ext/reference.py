"""The whole network in plain PyTorch: what the fused operators compute, written to be read.

Lite-RTSE (Lite-RTSE: Exploring a Cost-Effective Lite DNN Model for Real-Time Speech Enhancement in RTC Scenarios)
enhances 16 kHz speech in the short-time spectrum in two stages: a mask on the magnitude, then a residual of
magnitude and phase. Parameter names are those of the public unofficial implementation, so its checkpoints load.

Everything here is differentiable any number of times, in any floating dtype, on any device. It is the oracle of every
test and the definition of second derivatives; :mod:`lite_rtse_ext.nn` and :mod:`lite_rtse_ext.model` derive from these
classes and replace the blocks' arithmetic alone.

Layouts: spectrogram ``X`` (B, F, T, 2), real and imaginary part last, or complex (B, F, T); features (B, C, T, F), with
B utterances, C channels, T frames and F frequency bins. Causal: frame t of any output depends on frames <= t only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext.operands import operands

__all__ = [
    "CausalDepthwiseConv2d",
    "ConvBlock",
    "LiteRTSE",
    "MaskResidual",
    "MultiOrderConv",
    "States",
    "causal_dwconv2d",
    "causal_padding",
    "conv_block",
    "gate_channels",
    "magnitude",
    "mask_residual",
    "multi_order_conv",
]

_LSTMState = tuple[Tensor, Tensor] | None
States = tuple[_LSTMState, _LSTMState]
"""States of the network's two LSTMs between two stretches of frames; none before the first."""


def causal_padding(kernel_size: Sequence[int]) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) zeros that make a (time, frequency) kernel causal and keep the plane's size.

    All kt - 1 rows of zeros go before t = 0, none after the last frame: a window of kt rows that ends at row t sees no
    later frame. Frequency is no direction of time: (kf - 1) / 2 columns lie on either side, so kf must be odd.
    """
    kt, kf = kernel_size
    return (kf // 2, kf // 2, kt - 1, 0)


def gate_channels(channels: int, order: int) -> list[int]:
    """Channels of each gate of the Multi-Order block: g_k = channels / 2^(order - 1 - k) for k = 0 ... order - 2."""
    return [channels >> (order - 1 - k) for k in range(order - 1)]


def _causal_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # The weight tells its groups: (C, 1, kt, kf) is depthwise, (C, C, kt, kf) is full.
    groups = x.shape[1] // weight.shape[1]
    return functional.conv2d(functional.pad(x, causal_padding(weight.shape[2:])), weight, bias, groups=groups)


def causal_dwconv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Causal depthwise convolution over time and frequency; each channel has its own kernel.

    ``y[b,c,t,f] = bias[c] + sum_ij weight[c,0,i,j] · x[b, c, t - (kt-1) + i, f - (kf-1)/2 + j]``, x = 0 outside.

    Args:
        x: features (B, C, T, F).
        weight: (C, 1, kt, kf), both sizes odd.
        bias: (C,) or none.

    Returns:
        Features (B, C, T, F).
    """
    return _causal_conv2d(x, weight, bias)


def conv_block(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """Conv-Block: ``(1×1 → causal 3×3 → 1×1)(x) · (1×1 skip)(x)``, no activation, no normalisation.

    The zeros of the 3×3 are put around what the first 1×1 gives, so outside the plane that is 0, never its bias.

    Args:
        x: features (B, Cin, T, F).
        weights: [in (C, Cin, 1, 1), 3×3 (C, 1, 3, 3) depthwise or (C, C, 3, 3) full, out (C, C, 1, 1),
            skip (C, Cin, 1, 1)].
        biases: four of (C,), in the same order.

    Returns:
        Features (B, C, T, F).
    """
    w_in, w_causal, w_out, w_skip = weights
    b_in, b_causal, b_out, b_skip = biases
    h = functional.conv2d(x, w_in, b_in)
    h = _causal_conv2d(h, w_causal, b_causal)
    return functional.conv2d(h, w_out, b_out) * functional.conv2d(x, w_skip, b_skip)


def multi_order_conv(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """Multi-Order block: a cascade of causal depthwise convolutions, whose channels gate one another n times.

    ::

        h = W_in x + b_in                                  1×1, Cin → 2C
        d_0, p_0 = h[: 2C - g_0], h[2C - g_0 :]
        u_k = causal depthwise convolution of d_k          D_k = 2C - g_k channels
        d_{k+1}, gate_k = u_k[: -g_k], u_k[-g_k :]
        p_{k+1} = A_k (p_k · gate_k) + a_k                 1×1, g_k → 2 g_k
        y = W_out (d_{n-1} · p_{n-1}) + b_out              1×1, C → Cout

    The gates double, g_{k+1} = 2 g_k (:func:`gate_channels`), so 2C - g_0 - (g_0 + ... + g_{k-1}) = 2C - g_k channels
    enter stage k, and after the last stage d and p both hold C. Each stage gates once and the end once more, n products
    in all: without biases y is of degree n + 1 in x.

    Args:
        x: features (B, Cin, T, F).
        weights: 2n tensors, [in (2C, Cin, 1, 1), depthwise_0 ... depthwise_{n-2} (D_k, 1, k, k),
            pointwise_0 ... pointwise_{n-2} (2 g_k, g_k, 1, 1), out (Cout, C, 1, 1)].
        biases: 2n tensors, in the same order.

    Returns:
        Features (B, Cout, T, F).
    """
    stages = len(weights) // 2 - 1
    depthwise = list(zip(weights[1 : 1 + stages], biases[1 : 1 + stages], strict=True))
    pointwise = list(zip(weights[1 + stages : -1], biases[1 + stages : -1], strict=True))
    h = functional.conv2d(x, weights[0], biases[0])
    d_channels = depthwise[0][0].shape[0]
    d, p = h[:, :d_channels], h[:, d_channels:]
    for (w_depthwise, b_depthwise), (w_pointwise, b_pointwise) in zip(depthwise, pointwise, strict=True):
        u = causal_dwconv2d(d, w_depthwise, b_depthwise)
        gates = p.shape[1]
        d, gate = u[:, :-gates], u[:, -gates:]
        p = functional.conv2d(p * gate, w_pointwise, b_pointwise)
    return functional.conv2d(d * p, weights[-1], biases[-1])


def _parts(spectrogram: Tensor) -> Tensor:
    """(B, F, T, 2) of either layout."""
    return torch.view_as_real(spectrogram.resolve_conj()) if spectrogram.is_complex() else spectrogram


def _real_imag(spectrogram: Tensor) -> tuple[Tensor, Tensor]:
    real, imag = _parts(spectrogram).transpose(1, 2).unbind(-1)
    return real, imag


def mask_residual(
    spectrogram: Tensor, mask_logit: Tensor, res_mag: Tensor, res_real: Tensor, res_imag: Tensor
) -> Tensor:
    """Reconstruction "masking + residual", the graph as published: magnitude and phase, each corrected by itself.

    With m = \\|X\\|, M = sigmoid(logit) and Y1 = m · M, the magnitude is ``R_mag · (m - Y1) + Y1`` (the mask, and a
    share R_mag of what it took away) and the phase ``arg X + arg(R_re + i R_im)``.

    The square root makes the gradient with respect to X infinite where X = 0 (it arrives as NaN). The fused operator is
    free of that: \\|X\\| cancels, the whole is a complex gain ``(R_mag (1 - M) + M) · R/|R|`` on X.

    Args:
        spectrogram: X, (B, F, T, 2) or complex (B, F, T).
        mask_logit: the mask before its sigmoid, (B, T, F).
        res_mag: residual magnitude R_mag, (B, T, F).
        res_real: real part of the residual phase's direction R_re, (B, T, F).
        res_imag: imaginary part R_im, (B, T, F).

    Returns:
        The enhanced spectrogram in the layout of ``spectrogram``.
    """
    real, imag = _real_imag(spectrogram)
    mag = (real.square() + imag.square()).sqrt()
    masked = mag * torch.sigmoid(mask_logit)
    out_mag = res_mag * (mag - masked) + masked
    phase = torch.atan2(imag, real) + torch.atan2(res_imag, res_real)
    parts = torch.stack([out_mag * phase.cos(), out_mag * phase.sin()], dim=-1).transpose(1, 2)
    return torch.view_as_complex(parts.contiguous()) if spectrogram.is_complex() else parts


def magnitude(spectrogram: Tensor) -> Tensor:
    """Magnitude \\|X\\| of a spectrogram (B, F, T, 2) or complex (B, F, T) as the network reads it: (B, T, F).

    A norm, not a square root of squares: its derivative where X = 0 is 0, not NaN, so that one can train on silence.
    """
    norm: Tensor = torch.linalg.vector_norm(_parts(spectrogram), dim=-1)
    return norm.transpose(1, 2).contiguous()


def _odd(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    kt, kf = (size, size) if isinstance(size, int) else size
    if kt < 1 or kf < 1 or kt % 2 == 0 or kf % 2 == 0:
        raise ValueError(f"{name} must be odd and positive, but is {size}")
    return kt, kf


def _causal_conv(channels: int, kernel_size: Sequence[int], groups: int) -> tuple[nn.ZeroPad2d, nn.Conv2d]:
    conv = nn.Conv2d(channels, channels, (kernel_size[0], kernel_size[1]), groups=groups)
    return nn.ZeroPad2d(causal_padding(kernel_size)), conv


class CausalDepthwiseConv2d(nn.Conv2d):
    """Module of :func:`causal_dwconv2d`: an ``nn.Conv2d`` with a kernel for each channel and zeros before t = 0.

    Args:
        channels: C.
        kernel_size: odd size, or a pair (time, frequency).
        bias: whether to add a bias.

    Shapes: (B, C, T, F) to (B, C, T, F).
    """

    def __init__(self, channels: int, kernel_size: int | tuple[int, int], bias: bool = True) -> None:
        super().__init__(channels, channels, _odd("kernel_size", kernel_size), groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return causal_dwconv2d(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.in_channels}, kernel_size={self.kernel_size}{bias}"


class ConvBlock(nn.Module):
    """Module of :func:`conv_block`.

    Args:
        in_channels: Cin.
        out_channels: C.
        depthwise: with False the full 3×3 convolution of a first variant of the network (1.58 M parameters).

    Shapes: (B, Cin, T, F) to (B, C, T, F).
    """

    def __init__(self, in_channels: int, out_channels: int, depthwise: bool = True) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1),
            *_causal_conv(out_channels, (3, 3), groups=out_channels if depthwise else 1),
            nn.Conv2d(out_channels, out_channels, 1),
        )
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def operands(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases in the order of :func:`conv_block`."""
        return operands([self.conv[0], self.conv[2], self.conv[3], self.skip])

    def forward(self, x: Tensor) -> Tensor:
        return conv_block(x, *self.operands())


class MultiOrderConv(nn.Module):
    """Module of :func:`multi_order_conv`.

    Args:
        channels: C, a multiple of 2^(order - 1).
        order: n, at least 2; there are n - 1 depthwise stages.
        in_channels: Cin; half of ``channels`` unless given.
        out_channels: Cout; 1 in the network.
        kernel_size: odd size of the depthwise kernels.

    Shapes: (B, Cin, T, F) to (B, Cout, T, F).
    """

    def __init__(
        self,
        channels: int = 64,
        order: int = 5,
        in_channels: int | None = None,
        out_channels: int = 1,
        kernel_size: int = 7,
    ) -> None:
        super().__init__()
        if order < 2:
            raise ValueError(f"order must be at least 2, but is {order}")
        if channels < 1 or channels % 2 ** (order - 1):
            raise ValueError(
                f"channels must be a multiple of 2^(order - 1), {2 ** (order - 1)} for order {order}, but is {channels}"
            )
        kernel = _odd("kernel_size", kernel_size)
        gates = gate_channels(channels, order)
        self.pwconv1 = nn.Conv2d(channels // 2 if in_channels is None else in_channels, 2 * channels, 1)
        self.pwconvN = nn.Conv2d(channels, out_channels, 1)
        self.dwconvs = nn.ModuleList(
            nn.Sequential(*_causal_conv(2 * channels - gate, kernel, groups=2 * channels - gate)) for gate in gates
        )
        self.pwconvs = nn.ModuleList(nn.Conv2d(gate, 2 * gate, 1) for gate in gates)

    def operands(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases in the order of :func:`multi_order_conv`."""
        depthwise = [stage[1] for stage in self.dwconvs]  # type: ignore[index]
        return operands([self.pwconv1, *depthwise, *self.pwconvs, self.pwconvN])

    def forward(self, x: Tensor) -> Tensor:
        return multi_order_conv(x, *self.operands())


class MaskResidual(nn.Module):
    """Module of :func:`mask_residual`; it has no parameters."""

    def forward(
        self, spectrogram: Tensor, mask_logit: Tensor, res_mag: Tensor, res_real: Tensor, res_imag: Tensor
    ) -> Tensor:
        return mask_residual(spectrogram, mask_logit, res_mag, res_real, res_imag)


class LiteRTSE(nn.Module):
    """The network: 1,559,245 parameters by default, 1,577,101 with ``depthwise=False``.

    ::

        m  = |X|                                           magnitude
        Y1 = m · sigmoid(fc1(lstm1(m)))                    masking
        Y2 = Multi-Order(Conv-Block(Conv-Block(m)))        1 → 32 → 32 → 1 channels
        Z  = lstm2(fc2([m, Y1, Y2]))                       fusion
        R  = to_mag(Z), to_real(Z), to_imag(Z)             residual; no activation
        S  = mask_residual(X, mask, R)                     reconstruction

    Args:
        bins: F, frequency bins; 257 for a 512-point transform.
        channels: C of the Multi-Order block; the Conv-Blocks have C / 2.
        order: order of the Multi-Order block.
        depthwise: False for the variant whose Conv-Blocks hold a full 3×3 convolution.
    """

    # The classes the network is built of: all that the fused network has of its own.
    conv_block: ClassVar[type[ConvBlock]] = ConvBlock
    multi_order_conv: ClassVar[type[MultiOrderConv]] = MultiOrderConv
    reconstruction: ClassVar[type[MaskResidual]] = MaskResidual

    def __init__(self, bins: int = 257, channels: int = 64, order: int = 5, depthwise: bool = True) -> None:
        super().__init__()
        self.bins, self.channels, self.order, self.depthwise = bins, channels, order, depthwise
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
        """Enhance a noisy spectrogram (B, F, T, 2) or complex (B, F, T); the result has the same layout.

        Of no frames (T = 0) it is empty, and no gradient leads from it to the parameters.

        Raises:
            ValueError: a spectrogram of another shape, or not of ``bins`` frequency bins.
        """
        self._check(spectrogram)
        if spectrogram.shape[2] == 0:  # an LSTM takes no empty sequence
            return spectrogram.clone()
        return self.advance(spectrogram)[0]

    def advance(self, spectrogram: Tensor, before: int = 0, states: States = (None, None)) -> tuple[Tensor, States]:
        """The forward for the frames from ``before`` on, and what the LSTMs know after them.

        Args:
            spectrogram: as in ``forward``, with at least one frame from ``before`` on.
            before: how many of its first frames are there for the convolutions to look back at, and nothing else.
            states: of the two LSTMs at frame ``before``, as the call for the frames up to there returned them; none at
                the beginning.

        Returns:
            The enhanced spectrogram without the first ``before`` frames, and the states after its last frame.
        """
        mag = magnitude(spectrogram)
        features = self.msmo_conv(mag.unsqueeze(1)).squeeze(1)[:, before:]
        spectrogram, mag = spectrogram[:, :, before:], mag[:, before:]
        hidden, mask_state = self.run_lstm(self.lstm1, mag, states[0])
        mask_logit = self.fc1(hidden)
        masked = mag * torch.sigmoid(mask_logit)
        fused = self.fc2(torch.cat([mag, masked, features], dim=-1))
        z, fusion_state = self.run_lstm(self.lstm2, fused, states[1])
        enhanced = self.mask_residual(spectrogram, mask_logit, self.to_mag(z), self.to_real(z), self.to_imag(z))
        return enhanced, (mask_state, fusion_state)

    def run_lstm(self, lstm: nn.LSTM, x: Tensor, state: _LSTMState) -> tuple[Tensor, _LSTMState]:
        """One of the two LSTMs on (B, T, F)."""
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
