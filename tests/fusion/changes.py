"""What other code does to a convolution inside a block, so that the block has to call it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Adapter(nn.Module):
    """As adapters of low rank: it passes on the weight of the layer in it, and computes more."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        sizes = layer.in_channels, layer.out_channels, layer.kernel_size
        self.layer, self.more = layer, nn.Conv2d(*sizes, groups=layer.groups)

    @property
    def weight(self) -> Tensor:
        return self.layer.weight

    @property
    def bias(self) -> Tensor | None:
        return self.layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.more(x)


class Rounded(nn.Conv2d):
    """As the layers of training for quantization: a convolution of another class with the same parameters."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.round(4 * x) / 4)


def rounded(conv: nn.Conv2d) -> nn.Module:
    layer = Rounded(conv.in_channels, conv.out_channels, conv.kernel_size, groups=conv.groups)
    layer.load_state_dict(conv.state_dict())
    return layer


def doubled(conv: nn.Conv2d) -> nn.Module:
    conv.register_forward_hook(lambda module, inputs, y: 2 * y)
    return conv


def halved(conv: nn.Conv2d) -> nn.Module:
    conv.forward = lambda x: nn.Conv2d.forward(conv, x) / 2  # type: ignore[method-assign]
    return conv


class Wrapper(nn.Module):
    """Someone else's module around another one."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.inner(x)


CHANGES: list[Callable[..., nn.Module]] = [Adapter, rounded, doubled, halved, Wrapper]
