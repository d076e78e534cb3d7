"""Lite-RTSE as other people write it: module by module, under names and in styles that are not this project's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class MultiScale(nn.Module):
    """Conv-Block under the keys of the public unofficial implementation, every layer a module that is called."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(cin, cout, (1, 1)),
            nn.ZeroPad2d([1, 1, 2, 0]),
            nn.Conv2d(cout, cout, (3, 3), groups=cout),
            nn.Conv2d(cout, cout, (1, 1)),
        )
        self.skip = nn.Conv2d(cin, cout, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.skip(x)


class MultiOrder(nn.Module):
    """Multi-Order block under the keys of the public unofficial implementation."""

    def __init__(self, width: int = 64, order: int = 5) -> None:
        super().__init__()
        self.gates = [width // 2**n for n in range(order - 1, 0, -1)]
        self.pwconv1 = nn.Conv2d(width // 2, 2 * width, 1)
        self.pwconvN = nn.Conv2d(width, 1, 1)
        self.dwconvs = nn.ModuleList()
        self.pwconvs = nn.ModuleList()
        for gate in self.gates:
            deep = 2 * width - gate
            self.pwconvs.append(nn.Conv2d(gate, 2 * gate, 1))
            self.dwconvs.append(nn.Sequential(nn.ZeroPad2d([3, 3, 6, 0]), nn.Conv2d(deep, deep, 7, groups=deep)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pwconv1(x)
        deep, point = x[:, : -self.gates[0]], x[:, -self.gates[0] :]
        for gate, depthwise, pointwise in zip(self.gates, self.dwconvs, self.pwconvs, strict=True):
            deep = depthwise(deep)
            point = pointwise(point * deep[:, -gate:])
            deep = deep[:, :-gate]
        return self.pwconvN(deep * point)


class PublicLiteRTSE(nn.Module):
    """The network in the public implementation's structure; its checkpoints have these keys."""

    def __init__(self, bins: int = 257, width: int = 64, order: int = 5) -> None:
        super().__init__()
        self.lstm1 = nn.LSTM(bins, bins, 1, batch_first=True)
        self.fc1 = nn.Linear(bins, bins)
        self.msmo_conv = nn.Sequential(
            MultiScale(1, width // 2), MultiScale(width // 2, width // 2), MultiOrder(width, order)
        )
        self.fc2 = nn.Linear(3 * bins, bins)
        self.lstm2 = nn.LSTM(bins, bins, 1, batch_first=True)
        self.to_mag = nn.Linear(bins, bins)
        self.to_real = nn.Linear(bins, bins)
        self.to_imag = nn.Linear(bins, bins)

    def forward(self, spectrogram: Tensor) -> Tensor:
        x = spectrogram.permute(0, 3, 2, 1)
        mag = (x[:, 0] ** 2 + x[:, 1] ** 2) ** 0.5
        phase = torch.atan2(x[:, 1], x[:, 0])
        first = mag * torch.sigmoid(self.fc1(self.lstm1(mag)[0]))
        second = self.msmo_conv(mag[:, None])[:, 0]
        z = self.lstm2(self.fc2(torch.concat([mag, first, second], dim=-1)))[0]
        out_mag = self.to_mag(z) * (mag - first) + first
        turn = torch.atan2(self.to_imag(z), self.to_real(z))
        real = out_mag * (torch.cos(phase) * torch.cos(turn) - torch.sin(phase) * torch.sin(turn))
        imag = out_mag * (torch.sin(phase) * torch.cos(turn) + torch.cos(phase) * torch.sin(turn))
        return torch.stack([real, imag], dim=-1).permute(0, 2, 1, 3)


class PaddedDepthwise(nn.Module):
    """A causal depthwise convolution that pads in its forward and has no bias."""

    def __init__(self, width: int, size: int, bias: bool = True) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(width, width, size, groups=width, bias=bias)
        self.margin = (size // 2, size // 2, size - 1, 0)

    def forward(self, features: Tensor) -> Tensor:
        return self.kernel(functional.pad(features, self.margin))


class ChompedDepthwise(nn.Module):
    """A causal depthwise convolution that pads both ends of time and cuts the future off again."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(width, width, size, groups=width, padding=(size - 1, size // 2))
        self.extra = size - 1

    def forward(self, features: Tensor) -> Tensor:
        return self.kernel(features)[:, :, : -self.extra]


class GatedBlock(nn.Module):
    """A Conv-Block with other names, registered in another order, flat, some biases missing, one pad module shared."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, width, 1)
        self.project = nn.Conv2d(width, width, 1, bias=False)
        self.zeros = nn.ZeroPad2d((1, 1, 2, 0))
        self.expand = nn.Conv2d(inputs, width, 1)
        self.local = nn.Conv2d(width, width, 3, groups=width)

    def forward(self, features: Tensor) -> Tensor:
        carried = self.shortcut(features)
        return carried * self.project(self.local(self.zeros(self.expand(features))))


class Cascade(nn.Module):
    """A Multi-Order block with other names, its wide half first, nested stages, a full output width."""

    def __init__(self, inputs: int, width: int, order: int, size: int) -> None:
        super().__init__()
        self.exit = nn.Conv2d(width, width, 1, bias=False)
        self.mix, self.filters = nn.ModuleDict(), nn.ModuleDict()
        self.sizes = [width >> n for n in range(order - 1, 0, -1)]
        for k, gate in enumerate(self.sizes):
            self.mix[f"level{k}"] = nn.Conv2d(gate, 2 * gate, 1)
            self.filters[f"level{k}"] = PaddedDepthwise(2 * width - gate, size, bias=k > 0)
        self.entry = nn.Conv2d(inputs, 2 * width, 1)

    def forward(self, features: Tensor) -> Tensor:
        wide, narrow = torch.tensor_split(self.entry(features), [-self.sizes[0]], dim=1)
        for k, gate in enumerate(self.sizes):
            wide, control = torch.tensor_split(self.filters[f"level{k}"](wide), [-gate], dim=1)
            narrow = self.mix[f"level{k}"](narrow * control)
        return self.exit(wide * narrow)


class OtherNames(nn.Module):
    """A network of its own that happens to be built of the same blocks."""

    def __init__(self, width: int = 8, order: int = 3) -> None:
        super().__init__()
        self.front = nn.ModuleDict({"first": GatedBlock(1, width // 2), "second": GatedBlock(width // 2, width // 2)})
        self.smooth = PaddedDepthwise(width // 2, 5, bias=False)
        self.body = Cascade(width // 2, width, order, 5)
        self.norm = nn.GroupNorm(1, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        features = self.front["second"](self.front["first"](features))
        return self.head(torch.tanh(self.norm(self.body(self.smooth(features)))))


class Rewritten(MultiScale):
    """The layers of a Conv-Block and another forward."""

    def __init__(self, forward: Callable[[MultiScale, Tensor], object]) -> None:
        super().__init__(3, 3)
        self.rewritten = forward

    def forward(self, x: Tensor) -> object:
        return self.rewritten(self, x)


class ComplexConv(nn.Module):
    """A complex convolution as in public code of DCCRN: four real ones, with zeros in front of the first frame."""

    def __init__(self, layer: Callable[[], nn.Module], before: int = 0) -> None:
        super().__init__()
        self.on_real, self.on_imag, self.before = layer(), layer(), before

    def forward(self, inputs: Tensor) -> Tensor:
        real, imag = torch.chunk(functional.pad(inputs, [self.before, 0, 0, 0]), 2, 1)
        y_real = self.on_real(real) - self.on_imag(imag)
        return torch.cat([y_real, self.on_imag(real) + self.on_real(imag)], 1)
