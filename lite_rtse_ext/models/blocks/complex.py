"""Layers of complex numbers. The channels of a tensor are the real parts first, then the imaginary parts.

A complex layer has two real layers, as described in :mod:`lite_rtse_ext.nn.complex_conv`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lite_rtse_ext.nn.complex_conv import in_one

__all__ = ["ComplexBatchNorm2d", "ComplexConv2d", "ComplexConvTranspose2d", "ComplexLSTM"]

Pair = tuple[int, int]
_WEIGHT_SPREAD = 0.05


class ComplexConv2d(nn.Module):
    """A complex convolution. It runs as one real convolution.

    Args:
        in_channels: number of input channels, real and imaginary together.
        out_channels: number of output channels, real and imaginary together.
        kernel_size, stride, padding: as for :class:`torch.nn.Conv2d`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Pair, stride: Pair = (1, 1), padding: Pair = (0, 0)
    ) -> None:
        super().__init__()
        channels = _half(in_channels, "in_channels"), _half(out_channels, "out_channels")
        self.real_conv, self.imag_conv = (nn.Conv2d(*channels, kernel_size, stride, padding) for _ in range(2))
        _initialize(self.real_conv, self.imag_conv)

    def forward(self, x: Tensor) -> Tensor:
        return in_one(self.real_conv, self.imag_conv, x)


class ComplexConvTranspose2d(nn.Module):
    """A complex transposed convolution, as one real transposed convolution. Its arguments are those of PyTorch's.

    The numbers of channels are of real and imaginary parts together.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
        output_padding: Pair = (0, 0),
    ) -> None:
        super().__init__()
        channels = _half(in_channels, "in_channels"), _half(out_channels, "out_channels")
        sizes = kernel_size, stride, padding, output_padding
        self.real_conv, self.imag_conv = (nn.ConvTranspose2d(*channels, *sizes) for _ in range(2))
        _initialize(self.real_conv, self.imag_conv)

    def forward(self, x: Tensor) -> Tensor:
        return in_one(self.real_conv, self.imag_conv, x)


class ComplexLSTM(nn.Module):
    """A complex layer of two LSTMs, and optionally a linear layer for each part. The linear layers are not complex.

    Args:
        inputs: number of input features of each part.
        units: number of units of each part.
        outputs: number of output features of each part. None: there are no linear layers, and there are ``units``.
    """

    def __init__(self, inputs: int, units: int, outputs: int | None = None) -> None:
        super().__init__()
        self.real_lstm, self.imag_lstm = (nn.LSTM(inputs, units, batch_first=True) for _ in range(2))
        if outputs is not None:
            self.r_trans, self.i_trans = nn.Linear(units, outputs), nn.Linear(units, outputs)
        self.has_outputs = outputs is not None

    def forward(self, real: Tensor, imag: Tensor) -> tuple[Tensor, Tensor]:
        """Run the layer on the two parts (B, T, inputs)."""
        both = torch.cat([real, imag])
        (real_of_real, real_of_imag), (imag_of_real, imag_of_imag) = (
            lstm(both)[0].chunk(2) for lstm in (self.real_lstm, self.imag_lstm)
        )
        real, imag = real_of_real - imag_of_imag, real_of_imag + imag_of_real
        return (self.r_trans(real), self.i_trans(imag)) if self.has_outputs else (real, imag)


class ComplexBatchNorm2d(nn.Module):
    """Batch norm of complex numbers (Trabelsi et al., 2018).

    Let V be the 2×2 covariance of the real and the imaginary part of a channel, over the batch and both axes. The
    layer subtracts the mean and multiplies with the inverse square root of V. Then it multiplies with the symmetric
    matrix W and adds B. In evaluation mode the running averages replace the mean and V.

    Args:
        channels: number of channels, real and imaginary together.
        eps: added to the diagonal of V.
        momentum: share of the batch in the running averages.
    """

    RMr: Tensor
    RMi: Tensor
    RVrr: Tensor
    RVri: Tensor
    RVii: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        half = _half(channels, "channels")
        self.eps, self.momentum = eps, momentum
        self.Wrr, self.Wii = nn.Parameter(torch.ones(half)), nn.Parameter(torch.ones(half))
        self.Wri = nn.Parameter(torch.empty(half).uniform_(-0.9, 0.9))
        self.Br, self.Bi = nn.Parameter(torch.zeros(half)), nn.Parameter(torch.zeros(half))
        for name, value in {"RMr": 0, "RMi": 0, "RVrr": 1, "RVri": 0, "RVii": 1}.items():
            self.register_buffer(name, torch.full((half,), float(value)))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        real, imag = x.to(self.Wrr.dtype).chunk(2, dim=1)  # statistics of half-precision values are not accurate
        mean_r, mean_i, rr, ri, ii = self._statistics(real, imag)
        whiten = _inverse_root(rr + self.eps, ri, ii + self.eps)
        zrr, zri = _row(self.Wrr, self.Wri, *whiten)
        zir, zii = _row(self.Wri, self.Wii, *whiten)
        offset_r = self.Br - zrr * mean_r - zri * mean_i
        offset_i = self.Bi - zir * mean_r - zii * mean_i
        zrr, zri, zir, zii, offset_r, offset_i = (v.view(-1, 1, 1) for v in (zrr, zri, zir, zii, offset_r, offset_i))
        return torch.cat([zrr * real + zri * imag + offset_r, zir * real + zii * imag + offset_i], dim=1).to(x)

    def _statistics(self, real: Tensor, imag: Tensor) -> tuple[Tensor, ...]:
        """The means and the covariance of the batch in training mode, otherwise the running averages."""
        running = (self.RMr, self.RMi, self.RVrr, self.RVri, self.RVii)
        if not self.training:
            return running
        mean_r, mean_i = real.mean((0, 2, 3)), imag.mean((0, 2, 3))
        r, i = real - mean_r.view(-1, 1, 1), imag - mean_i.view(-1, 1, 1)
        batch = (mean_r, mean_i, *((a * b).mean((0, 2, 3)) for a, b in ((r, r), (r, i), (i, i))))
        with torch.no_grad():
            self.num_batches_tracked += 1
            for average, new in zip(running, batch, strict=True):
                average.lerp_(new, self.momentum)
        return batch


def _half(channels: int, name: str) -> int:
    if channels % 2 or channels < 2:
        raise ValueError(f"{name}: expected an even number above 0, got {channels}")
    return channels // 2


def _initialize(*layers: nn.Conv2d | nn.ConvTranspose2d) -> None:
    for layer in layers:
        nn.init.normal_(layer.weight, std=_WEIGHT_SPREAD)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


def _inverse_root(rr: Tensor, ri: Tensor, ii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The inverse square root of the symmetric matrices [[rr, ri], [ri, ii]]."""
    root = (rr * ii - ri * ri).sqrt()  # the determinant's root
    scale = 1 / (root * (rr + ii + 2 * root).sqrt())
    return (root + ii) * scale, -ri * scale, (root + rr) * scale


def _row(left: Tensor, right: Tensor, rr: Tensor, ri: Tensor, ii: Tensor) -> tuple[Tensor, Tensor]:
    """The row (left, right) times the matrices [[rr, ri], [ri, ii]]."""
    return left * rr + right * ri, left * ri + right * ii
