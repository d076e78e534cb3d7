"""Causal convolutions over frames and bins, with batch norm and activation, and their transposes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext.models.blocks.causal import Causal, Pasts

__all__ = ["ConvBlock", "ConvTransposeBlock"]


class ConvBlock(Causal):
    """A causal convolution, batch norm and an activation: (B, inputs, T, F) to (B, outputs, T, F').

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        kernel: size in frames and bins.
        stride: stride along the bins.
        padding: zeros below the lowest and above the highest bin.
        groups: number of groups of channels.
        act: the activation. None: one PReLU with one slope for each channel.
        eps, momentum: of the batch norm.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: int,
        padding: tuple[int, int],
        *,
        groups: int = 1,
        act: nn.Module | None = None,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.past, (below, above) = kernel[0] - 1, padding
        both = min(below, above)  # the convolution itself pads equally at both ends
        self.padding = (below - both, above - both)
        self.conv = nn.Conv2d(inputs, outputs, kernel, (1, stride), (0, both), groups=groups)
        self.bn = nn.BatchNorm2d(outputs, eps, momentum)
        self.act = nn.PReLU(outputs) if act is None else act

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        x = pasts.before(x, self.past) if self.past else x
        x = functional.pad(x, self.padding) if any(self.padding) else x
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y


class ConvTransposeBlock(Causal):
    """The transpose of a :class:`ConvBlock`. It is causal, too: frame t depends on the frames up to t.

    Args:
        inputs, outputs, kernel, stride, groups, act, eps, momentum: as in :class:`ConvBlock`.
        bins: the lowest output bin that is kept, and the number of bins.
        plain: whether there is neither norm nor activation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: int,
        bins: tuple[int, int],
        *,
        groups: int = 1,
        act: nn.Module | None = None,
        eps: float = 1e-5,
        momentum: float = 0.1,
        plain: bool = False,
    ) -> None:
        super().__init__()
        self.past = kernel[0] - 1
        self.first, self.bins = bins
        # The padding leaves out the frames before the first and after the last.
        self.conv = nn.ConvTranspose2d(inputs, outputs, kernel, (1, stride), (self.past, 0), groups=groups)
        if plain:
            self.bn: nn.Module = nn.Identity()
            self.act: nn.Module = nn.Identity()
        else:
            self.bn = nn.BatchNorm2d(outputs, eps, momentum)
            self.act = nn.PReLU(outputs) if act is None else act

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        x = pasts.before(x, self.past) if self.past else x
        y: Tensor = self.act(self.bn(self.conv(x)[..., self.first : self.first + self.bins]))
        return y
