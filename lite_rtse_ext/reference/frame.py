"""One frame of the network. Each causal convolution gets the last frames of its own input instead of a left context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext.reference.convolutions import ConvBlock, MultiOrderConv
from lite_rtse_ext.reference.spectrum import complex_gain, magnitude

if TYPE_CHECKING:
    from lite_rtse_ext.reference.network import LiteRTSE

__all__ = ["memory_shapes", "next_frame"]


def memory_shapes(model: LiteRTSE) -> dict[str, tuple[int, ...]]:
    """The names of the pieces of memory and their shapes without the batch.

    There are h and c of both LSTMs, (257,). For each causal convolution there are the last k - 1 frames of its input,
    (channels, k - 1, 257).
    """
    shapes: dict[str, tuple[int, ...]] = {
        f"{lstm}_{part}": (model.bins,) for lstm in ("lstm1", "lstm2") for part in ("h", "c")
    }
    for name, module in model.msmo_conv.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1:
            frames = module.kernel_size[0] - 1
            shapes[f"msmo_conv_{name.replace('.', '_')}"] = (module.in_channels, frames, model.bins)
    return shapes


def next_frame(model: LiteRTSE, spectrum: Tensor, memory: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Enhance one frame in plain PyTorch. See :meth:`lite_rtse_ext.SpectrogramModel.next_frame`."""
    frames = _Frames(model, memory)
    mag = magnitude(spectrum.unsqueeze(2))[:, 0]
    levels = model.read(mag)
    logit = model.fc1(frames.lstm("lstm1", levels))
    features = levels[:, None, None]
    for block in model.msmo_conv:
        multi_order = isinstance(block, MultiOrderConv)
        features = frames.multi_order(block, features) if multi_order else frames.conv_block(block, features)
    features = features[:, 0, 0]
    logit = logit + features if model.mask_branch else logit
    fused = model.fc2(torch.cat([levels, model.read(mag * torch.sigmoid(logit)), features], dim=-1))
    z = frames.lstm("lstm2", fused)
    heads = (logit, model.to_mag(z), model.to_real(z), model.to_imag(z))
    enhanced = complex_gain(spectrum.unsqueeze(2), *(head.unsqueeze(1) for head in heads)).squeeze(2)
    return enhanced, {name: frames.next[name] for name in memory_shapes(model)}


class _Frames:
    """The layers with memory, for one frame. Each takes its piece and stores the updated one in :attr:`next`."""

    def __init__(self, model: LiteRTSE, memory: Mapping[str, Tensor]) -> None:
        self._model, self._memory = model, memory
        paths = {module: name for name, module in model.msmo_conv.named_modules()}
        self._names = {module: f"msmo_conv_{name.replace('.', '_')}" for module, name in paths.items()}
        self.next: dict[str, Tensor] = {}

    def lstm(self, name: str, x: Tensor) -> Tensor:
        state = (self._memory[f"{name}_h"].unsqueeze(0), self._memory[f"{name}_c"].unsqueeze(0))
        _, (h, c) = self._model.get_submodule(name)(x.unsqueeze(1), state)
        self.next |= {f"{name}_h": h[0], f"{name}_c": c[0]}
        hidden: Tensor = h[0]
        return hidden

    def causal(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        name = self._names[conv]
        window = torch.cat([self._memory[name], x], dim=2)
        self.next[name] = window[:, :, 1:]
        return functional.conv2d(
            window, conv.weight, conv.bias, padding=(0, conv.kernel_size[1] // 2), groups=conv.groups
        )

    def conv_block(self, block: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(block, ConvBlock)
        inner, causal, outer = block.conv[0], block.conv[2], block.conv[3]
        assert isinstance(causal, nn.Conv2d)
        result: Tensor = outer(self.causal(causal, inner(x))) * block.skip(x)
        return result

    def multi_order(self, block: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(block, MultiOrderConv)
        h = block.pwconv1(x)
        channels = block.dwconvs[0][1].in_channels  # type: ignore[index]
        d, p = h[:, :channels], h[:, channels:]
        for depthwise, pointwise in zip(block.dwconvs, block.pwconvs, strict=True):
            u = self.causal(depthwise[1], d)  # type: ignore[index]
            gates = p.shape[1]
            d, p = u[:, :-gates], pointwise(p * u[:, -gates:])
        result: Tensor = block.pwconvN(d * p)
        return result
