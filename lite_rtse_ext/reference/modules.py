"""Every operator as a module in plain PyTorch. Parameter names are those of the public unofficial implementation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lite_rtse_ext.reference.functional import (
    causal_dwconv2d,
    causal_padding,
    conv_block,
    gate_channels,
    mask_residual,
    multi_order_conv,
)
from lite_rtse_ext.reference.operands import operands

__all__ = ["CausalDepthwiseConv2d", "ConvBlock", "MaskResidual", "MultiOrderConv"]


def _odd(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    kt, kf = (size, size) if isinstance(size, int) else size
    if kt < 1 or kf < 1 or kt % 2 == 0 or kf % 2 == 0:
        raise ValueError(f"{name} must be odd and positive, but is {size}")
    return kt, kf


def _causal_conv(channels: int, kernel_size: Sequence[int], groups: int) -> tuple[nn.ZeroPad2d, nn.Conv2d]:
    conv = nn.Conv2d(channels, channels, (kernel_size[0], kernel_size[1]), groups=groups)
    return nn.ZeroPad2d(causal_padding(kernel_size)), conv


class CausalDepthwiseConv2d(nn.Conv2d):
    """Module of :func:`causal_dwconv2d`: an ``nn.Conv2d`` with one kernel for each channel and zeros before t = 0.

    Args:
        channels: C.
        kernel_size: an odd size, or a pair of odd sizes (time, frequency).
        bias: whether to add a bias.

    Raises:
        ValueError: ``kernel_size`` is not odd and positive.

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
        depthwise: False gives the full 3×3 convolution of a first variant of the network (1.58 M parameters).

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
        order: n, at least 2. There are n - 1 depthwise stages.
        in_channels: Cin. The default is half of ``channels``.
        out_channels: Cout. It is 1 in the network.
        kernel_size: odd size of the depthwise kernels.

    Raises:
        ValueError: ``order`` is below 2, ``channels`` is not a multiple of 2^(order - 1), or ``kernel_size`` is not odd
            and positive.

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
    """Module of :func:`mask_residual`. It has no parameters."""

    def forward(
        self, spectrogram: Tensor, mask_logit: Tensor, res_mag: Tensor, res_real: Tensor, res_imag: Tensor
    ) -> Tensor:
        return mask_residual(spectrogram, mask_logit, res_mag, res_real, res_imag)
