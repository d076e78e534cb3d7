"""The operators of convolutions in plain PyTorch: the formula of each, and its module.

Parameter names are those of the public unofficial implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext.reference.operands import operands
from lite_rtse_ext.utils.arguments import switch

__all__ = [
    "CausalDepthwiseConv2d",
    "ConvBlock",
    "MultiOrderConv",
    "causal_dwconv2d",
    "causal_padding",
    "conv_block",
    "gate_channels",
    "multi_order_conv",
    "pointwise_conv",
]


def causal_padding(kernel_size: Sequence[int], dilation: int = 1) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) zeros that make a (time, frequency) kernel causal and keep the plane's size.

    All (kt - 1) · dilation rows of zeros precede t = 0, and none follow the last frame. The kernel's kt rows, of which
    the last is row t, then contain no later frame. Causality does not concern frequency. (kf - 1) / 2 columns of zeros
    are put on either side, so kf must be odd.
    """
    kt, kf = kernel_size
    return (kf // 2, kf // 2, (kt - 1) * dilation, 0)


def _causal_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Tensor:
    # The weight determines the groups: (C, 1, kt, kf) is depthwise, (C, C, kt, kf) is full.
    groups = x.shape[1] // weight.shape[1]
    frames = x.shape[2]
    if dilation > 1 and not isinstance(frames, torch.SymInt):
        # If the dilation is at least the number of frames, all taps but the last read zeros. A larger dilation would
        # only need more padding. A symbolic number is not compared, because the comparison would restrict the graph.
        dilation = min(dilation, max(frames, 1))
    padded = functional.pad(x, causal_padding(weight.shape[2:], dilation))
    return functional.conv2d(padded, weight, bias, dilation=(dilation, 1), groups=groups)


def _odd(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    kt, kf = (size, size) if isinstance(size, int) else size
    if kt < 1 or kf < 1 or kt % 2 == 0 or kf % 2 == 0:
        raise ValueError(f"{name}: expected odd and positive sizes, got {size}")
    return kt, kf


def _causal_conv(channels: int, kernel_size: Sequence[int], groups: int) -> tuple[nn.ZeroPad2d, nn.Conv2d]:
    conv = nn.Conv2d(channels, channels, (kernel_size[0], kernel_size[1]), groups=groups)
    return nn.ZeroPad2d(causal_padding(kernel_size)), conv


def causal_dwconv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, dilation: int = 1) -> Tensor:
    """Causal depthwise convolution over time and frequency. Each channel has its own kernel.

    ``y[b,c,t,f] = bias[c] + sum_ij weight[c,0,i,j] · x[b, c, t - (kt-1-i)·dilation, f - (kf-1)/2 + j]``

    x is 0 outside the plane.

    Args:
        x: features (B, C, T, F).
        weight: (C, 1, kt, kf), kt and kf odd.
        bias: (C,) or None.
        dilation: distance of neighboring taps in frames.

    Returns:
        Features (B, C, T, F).
    """
    return _causal_conv2d(x, weight, bias, dilation)


def pointwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """1x1 convolution: ``y[b,o,p] = bias[o] + sum_c weight[o,c] · x[b,c,p]``.

    Args:
        x: (B, C, P).
        weight: (O, C).
        bias: (O,) or None.

    Returns:
        (B, O, P).
    """
    y = torch.matmul(weight, x)
    return y if bias is None else y + bias[:, None]


class CausalDepthwiseConv2d(nn.Conv2d):
    """Module of :func:`causal_dwconv2d`: an ``nn.Conv2d`` with one kernel for each channel and zeros before t = 0.

    Args:
        channels: C.
        kernel_size: an odd size, or a pair of odd sizes (time, frequency).
        bias: whether to add a bias.
        dilation: distance of neighboring taps in frames.

    Raises:
        ValueError: ``kernel_size`` is not odd and positive, or ``dilation`` is not positive.

    Shapes: (B, C, T, F) to (B, C, T, F).
    """

    def __init__(self, channels: int, kernel_size: int | tuple[int, int], bias: bool = True, dilation: int = 1) -> None:
        if dilation < 1:
            raise ValueError(f"dilation: expected at least 1, got {dilation}")
        kernel = _odd("kernel_size", kernel_size)
        super().__init__(channels, channels, kernel, dilation=(dilation, 1), groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return causal_dwconv2d(x, self.weight, self.bias, self.dilation[0])

    def extra_repr(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        dilation = "" if self.dilation == (1, 1) else f", dilation={self.dilation[0]}"
        return f"{self.in_channels}, kernel_size={self.kernel_size}{bias}{dilation}"


def conv_block(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """Conv-Block: ``(1×1 → causal 3×3 → 1×1)(x) · (1×1 skip)(x)``, without activation and normalization.

    The output of the first 1×1 is padded with zeros for the 3×3. Outside the plane it is therefore 0, not the bias.

    Args:
        x: features (B, Cin, T, F).
        weights: [in (C, Cin, 1, 1), 3×3 (C, 1, 3, 3) depthwise or (C, C, 3, 3) full, out (C, C, 1, 1),
            skip (C, Cin, 1, 1)].
        biases: four tensors (C,), in the same order.

    Returns:
        Features (B, C, T, F).
    """
    w_in, w_causal, w_out, w_skip = weights
    b_in, b_causal, b_out, b_skip = biases
    h = functional.conv2d(x, w_in, b_in)
    h = _causal_conv2d(h, w_causal, b_causal)
    return functional.conv2d(h, w_out, b_out) * functional.conv2d(x, w_skip, b_skip)


class ConvBlock(nn.Module):
    """Module of :func:`conv_block`.

    Args:
        in_channels: Cin.
        out_channels: C.
        depthwise: False gives the full 3×3 convolution of a first variant of the network (1.58 M parameters).

    Raises:
        TypeError: ``depthwise`` is neither True nor False.

    Shapes: (B, Cin, T, F) to (B, C, T, F).
    """

    def __init__(self, in_channels: int, out_channels: int, depthwise: bool = True) -> None:
        super().__init__()
        self.depthwise = switch(depthwise, "depthwise")
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1),
            *_causal_conv(out_channels, (3, 3), groups=out_channels if depthwise else 1),
            nn.Conv2d(out_channels, out_channels, 1),
        )
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def convolutions(self) -> list[nn.Module]:
        """The convolutions in the order of :func:`conv_block`."""
        return [self.conv[0], self.conv[2], self.conv[3], self.skip]

    def operands(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases in the same order."""
        return operands(self.convolutions())

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.skip(x)  # type: ignore[no-any-return]


def gate_channels(channels: int, order: int) -> list[int]:
    """Channels of each gate of the Multi-Order block: g_k = channels / 2^(order - 1 - k) for k = 0 ... order - 2."""
    return [channels >> (order - 1 - k) for k in range(order - 1)]


def multi_order_conv(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """Multi-Order block: a cascade of causal depthwise convolutions whose channels gate one another n times.

    ::

        h = W_in x + b_in                                  1×1, Cin → 2C
        d_0, p_0 = h[: 2C - g_0], h[2C - g_0 :]
        u_k = causal depthwise convolution of d_k          D_k = 2C - g_k channels
        d_{k+1}, gate_k = u_k[: -g_k], u_k[-g_k :]
        p_{k+1} = A_k (p_k · gate_k) + a_k                 1×1, g_k → 2 g_k
        y = W_out (d_{n-1} · p_{n-1}) + b_out              1×1, C → Cout

    The gates double from stage to stage: g_{k+1} = 2 g_k (:func:`gate_channels`). Therefore
    2C - g_0 - (g_0 + ... + g_{k-1}) = 2C - g_k channels enter stage k. After the last stage d and p both have C
    channels. Each of the n - 1 stages gates once, and the last line gates once more. These are n products, so without
    biases y has degree n + 1 in x.

    Args:
        x: features (B, Cin, T, F).
        weights: 2n tensors: [in (2C, Cin, 1, 1), depthwise_0 ... depthwise_{n-2} (D_k, 1, k, k),
            pointwise_0 ... pointwise_{n-2} (2 g_k, g_k, 1, 1), out (Cout, C, 1, 1)].
        biases: 2n tensors, in the same order.

    Returns:
        Features (B, Cout, T, F).
    """
    stages = len(weights) // 2 - 1
    convs = [partial(functional.conv2d, weight=w, bias=b) for w, b in zip(weights, biases, strict=True)]
    inner = zip(weights[1 : 1 + stages], biases[1 : 1 + stages], strict=True)
    depthwise = [partial(causal_dwconv2d, weight=w, bias=b) for w, b in inner]
    return _cascade(x, convs[0], depthwise, convs[1 + stages : -1], convs[-1])


_Layer = Callable[[Tensor], Tensor]


def _cascade(
    x: Tensor, enter: _Layer, depthwise: Sequence[_Layer], pointwise: Sequence[_Layer], leave: _Layer
) -> Tensor:
    h = enter(x)
    gates = h.shape[1] >> (len(depthwise) + 1)
    d, p = h[:, :-gates], h[:, -gates:]
    for filter_, mix in zip(depthwise, pointwise, strict=True):
        u = filter_(d)
        gates = p.shape[1]
        d, p = u[:, :-gates], mix(p * u[:, -gates:])
    return leave(d * p)


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
            raise ValueError(f"order: expected at least 2, got {order}")
        if channels < 1 or channels % 2 ** (order - 1):
            raise ValueError(
                f"channels: expected a multiple of 2^(order - 1), {2 ** (order - 1)} for order {order}, got {channels}"
            )
        kernel = _odd("kernel_size", kernel_size)
        gates = gate_channels(channels, order)
        self.pwconv1 = nn.Conv2d(channels // 2 if in_channels is None else in_channels, 2 * channels, 1)
        self.pwconvN = nn.Conv2d(channels, out_channels, 1)
        self.dwconvs = nn.ModuleList(
            nn.Sequential(*_causal_conv(2 * channels - gate, kernel, groups=2 * channels - gate)) for gate in gates
        )
        self.pwconvs = nn.ModuleList(nn.Conv2d(gate, 2 * gate, 1) for gate in gates)

    def convolutions(self) -> list[nn.Module]:
        """The convolutions in the order of :func:`multi_order_conv`."""
        depthwise = [stage[1] for stage in self.dwconvs]  # type: ignore[index]
        return [self.pwconv1, *depthwise, *self.pwconvs, self.pwconvN]

    def operands(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases in the same order."""
        return operands(self.convolutions())

    def forward(self, x: Tensor) -> Tensor:
        return _cascade(x, self.pwconv1, list(self.dwconvs), list(self.pwconvs), self.pwconvN)
