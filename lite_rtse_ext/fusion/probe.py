"""What a block computes: the operator on its convolutions, and a trial of both on random input."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from lite_rtse_ext import ops
from lite_rtse_ext.fusion.match import CAUSAL_COMPLEX_CONV, COMPLEX_CONV, Candidate
from lite_rtse_ext.nn.complex_conv import complex_conv
from lite_rtse_ext.nn.conv2d import strided_conv2d

__all__ = ["Probe", "convolutions", "run_operator", "takes"]

_COMPLEX = (COMPLEX_CONV, CAUSAL_COMPLEX_CONV)


def convolutions(block: nn.Module, paths: Iterable[str]) -> list[nn.Conv2d]:
    """The convolutions at these paths."""
    return [cast("nn.Conv2d", block.get_submodule(path)) for path in paths]


def run_operator(operator: str, paths: tuple[str, ...], convs: list[nn.Conv2d], x: Tensor, *more: Tensor) -> Tensor:
    """The operator on a block's convolutions, which have these paths in it."""
    if operator == "mask_residual":
        return ops.mask_residual(x, *more)
    if operator == "causal_dwconv2d":
        return _alone(convs[0], x) if paths == ("",) else _causal(convs[0], x)
    if operator == "conv2d":
        return strided_conv2d(convs[0], x)
    if operator in _COMPLEX:
        return complex_conv(convs[0], convs[1], x, causal=operator == CAUSAL_COMPLEX_CONV)
    biases = [conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias for conv in convs]
    weights = [conv.weight for conv in convs]
    y = getattr(ops, operator)(x, weights, biases)  # an operator on lists of weights and biases
    assert isinstance(y, Tensor)
    return y


def takes(operator: str, convs: list[nn.Conv2d], x: object) -> bool:
    """Whether the operator is to compute this input of a block. Otherwise the block's own forward is.

    Complex convolutions of some authors also take a pair of parts, or input without a batch. Faulty input gets the
    author's error.
    """
    if operator not in _COMPLEX or not isinstance(x, Tensor):
        return isinstance(x, Tensor)  # it is none while torch.fx traces the block
    return x.dim() == 4 and x.shape[1] == 2 * convs[0].in_channels


class Probe:
    """A float64 copy of a block with random parameters, and its results for some random inputs.

    The parameters are random because a model's own parameters may hide a difference. Zero biases hide on which side of
    a 1×1 convolution the zeros are padded. An output layer of zeros hides everything.

    The block runs in both modes, because a dropout is only active in training. It runs at two scales, because an
    activation may be linear over part of its range.
    """

    # Each case: training, scale of the first input, utterances, frames and bins in addition to the kernel's.
    CASES = ((True, 1.0, 2, 3, 4), (False, 30.0, 1, 0, 1), (False, 1.0, 1, 1, 0))

    def __init__(self, block: nn.Module, candidate: Candidate, device: torch.device) -> None:
        self.block = _copied(block, device).double().requires_grad_(True)
        self.parameters = list(self.block.parameters())
        self.generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters:
                fan_in = max(1, parameter[0].numel())
                parameter.copy_(self._random(parameter.shape) / fan_in**0.5)
        convs = convolutions(self.block, candidate.roles[0])
        self.cases = []
        for training, scale, *extent in self.CASES:
            x, *more = (self._random(size).to(device) for size in _input_sizes(candidate.operator, convs, *extent))
            inputs = [tensor.requires_grad_(True) for tensor in (scale * x, *more)]
            self.block.train(training)
            before = _attributes(self.block)
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                y = self.block.forward(*inputs)
            if not isinstance(y, Tensor):
                raise TypeError(f"it returned {type(y).__name__}, not a tensor")
            if kept := _changed(before, _attributes(self.block)):  # the operator would not set them
                raise TypeError(f"it sets {', '.join(kept)}")
            weight = self._random(y.shape).to(y.device)
            self.cases.append((inputs, weight, self._with_gradients(inputs, y, weight)))

    def difference(self, operator: str, roles: tuple[str, ...]) -> float:
        """The largest relative L2 difference from the operator, over outputs and gradients. It is infinite for NaN."""
        worst = 0.0
        for inputs, weight, expected in self.cases:
            y = run_operator(operator, roles, convolutions(self.block, roles), *inputs)
            if y.shape != weight.shape:
                return math.inf
            for ours, theirs in zip(self._with_gradients(inputs, y, weight), expected, strict=True):
                error = float((ours - theirs).norm() / theirs.norm().clamp_min(torch.finfo(torch.float64).tiny))
                worst = max(worst, math.inf if math.isnan(error) else error)
        return worst

    def _random(self, size: torch.Size) -> Tensor:
        return torch.randn(size, generator=self.generator, dtype=torch.float64, device="cpu")

    def _with_gradients(self, inputs: list[Tensor], y: Tensor, weight: Tensor) -> list[Tensor]:
        leaves = [*inputs, *self.parameters]
        return [y.detach(), *torch.autograd.grad((y * weight).sum(), leaves, materialize_grads=True)]


def _attributes(block: nn.Module) -> dict[str, object]:
    return {
        f"{path}.{name}" if path else name: value
        for path, module in block.named_modules()
        for name, value in {**vars(module), **module._buffers}.items()
    }


def _changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [name for name, value in after.items() if name not in before or before[name] is not value]


def _copied(block: nn.Module, device: torch.device) -> nn.Module:
    copied = copy.deepcopy(block)
    return copied.to_empty(device=device) if any(p.is_meta for p in copied.parameters()) else copied


def _input_sizes(
    operator: str, convs: list[nn.Conv2d], utterances: int, more_frames: int, more_bins: int
) -> list[torch.Size]:
    if operator == "mask_residual":
        frames, bins = 1 + more_frames, 1 + more_bins
        return [torch.Size((utterances, bins, frames, 2)), *4 * [torch.Size((utterances, frames, bins))]]
    if operator in _COMPLEX:
        axes = zip(convs[0].kernel_size, convs[0].dilation, (more_frames, more_bins), strict=True)
        plane = [1 + (taps - 1) * dilation + more for taps, dilation, more in axes]
        return [torch.Size((utterances, 2 * convs[0].in_channels, *plane))]
    kf = max(conv.kernel_size[1] for conv in convs)
    frames = 1 + max(map(_history, convs)) + more_frames
    return [torch.Size((utterances, convs[0].in_channels, frames, kf + more_bins))]


def _causal(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return ops.causal_dwconv2d(x, conv.weight, conv.bias, conv.dilation[0])


def _alone(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """What a convolution alone gives. Its surroundings pad the frames, so it leaves the first out, and perhaps bins.

    PyTorch takes input without a batch, and raises the error for input that is smaller than the kernel.
    """
    bins = conv.kernel_size[1] // 2 - int(conv.padding[1])
    if not (isinstance(x, Tensor) and x.dim() == 4 and x.shape[2] > _history(conv) and x.shape[3] > 2 * bins):
        return nn.Conv2d.forward(conv, x)
    y = _causal(conv, x)
    y = y[:, :, _history(conv) :, bins : y.shape[3] - bins]
    return y.contiguous()  # the code that follows may call view, as on the result of PyTorch's


def _history(conv: nn.Conv2d) -> int:
    """The earlier frames that a causal convolution needs."""
    return (conv.kernel_size[0] - 1) * conv.dilation[0]
