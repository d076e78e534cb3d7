"""How many operations and bytes a case takes, from its shapes alone.

A multiply-accumulate (MAC) is two operations. Counted are the MACs of convolutions and 1×1s, nothing else: no bias, no
gating product. Bytes are the compulsory ones: inputs read once, outputs written once, whatever a kernel moves besides.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lite_rtse_ext import reference
from lite_rtse_ext.benchmark.operators import Case


@dataclass(frozen=True)
class Work:
    """What one pass of a case takes. ``recomputed``: operations done besides, to have kept nothing from forward."""

    operations: float
    recomputed: float
    bytes: float

    @property
    def executed(self) -> float:
        """All operations that the processor does."""
        return self.operations + self.recomputed

    @property
    def intensity(self) -> float:
        """Operations executed a compulsory byte."""
        return self.executed / self.bytes


def macs_per_point(module: nn.Module) -> int:
    """MACs of a module's convolutions for each (frame, bin): out channels × in channels a group × kernel size.

    Multi-Order block, C = 64, n = 5, k = 7, 32 → 1 channels::

        1×1 in          32 · 128                                   =  4,096
        depthwise       49 · (124 + 120 + 112 + 96)                = 22,148
        1×1 of gates    Σ g · 2g = 2 · (16 + 64 + 256 + 1,024)     =  2,720
        1×1 out         64 · 1                                     =     64

    Conv-Block, 32 → 32: 32 · 32 (in) + 32 · 9 (depthwise) + 32 · 32 (out) + 32 · 32 (skip) = 3,360;
    1 → 32: 32 + 288 + 1,024 + 32 = 1,376.

    Depthwise 7×7 on 64 channels: 64 · 49 = 3,136. Padding counts: zeros are multiplied like anything else.
    """
    return sum(conv.weight.numel() for conv in module.modules() if isinstance(conv, nn.Conv2d))


def _points(case: Case) -> int:
    batch, _, frames, bins = case.inputs[0].shape
    return batch * frames * bins


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def work(case: Case, what: str) -> Work:
    """Operations and bytes of one pass, "forward" or "backward", of a convolution's case.

    Forward: every weight takes part in one MAC a point. Backward: as many for the gradient of what the convolution read
    (each MAC's value goes back through its weight) and as many for the gradient of the weight. A case without gradients
    of its inputs saves that of its first convolution; the fused operator computes it nonetheless, but it isn't counted.
    Fused backward passes keep only the inputs and compute the forward pass anew: once more as many, except for
    ``causal_dwconv2d``, which needs nothing computed anew.

    Compulsory bytes. Forward: inputs and parameters in, output out. Backward: inputs, parameters and output gradient
    in, gradients of inputs and parameters out.
    """
    if case.name not in ("causal_dwconv2d", "conv_block", "conv_blocks", "multi_order_conv"):
        raise ValueError(f"work is counted for the convolutions, but case is {case.name!r}")
    forward = 2.0 * macs_per_point(case.reference) * _points(case)
    parameters = list(case.reference.parameters())
    read = _bytes(*case.inputs, *parameters)
    if what == "forward":
        return Work(forward, 0.0, read + _bytes(case.output_gradient))
    if what != "backward":
        raise ValueError(f"what must be 'forward' or 'backward', but is {what!r}")
    written = _bytes(*parameters) + (_bytes(*case.inputs) if case.input_gradients else 0)
    recomputed = 0.0 if case.name == "causal_dwconv2d" else forward
    unneeded = 0.0 if case.input_gradients else 2.0 * _first_macs(case.reference) * _points(case)
    return Work(2 * forward - unneeded, recomputed, read + _bytes(case.output_gradient) + written)


def _first_macs(module: nn.Module) -> int:
    """MACs a point of the convolutions that read the input: of the Conv-Blocks in and skip of the first."""
    first = next(block for block in module.modules() if isinstance(block, reference.ConvBlock))
    weights, _ = first.operands()
    return weights[0].numel() + weights[3].numel()


def reconstruction_bytes(case: Case, what: str) -> int:
    """Compulsory bytes of ``mask_residual``: bound by memory, it has no MACs worth counting.

    Forward: 2 + 4 values in, 2 out a point. Backward: the same and the output's gradient (2) in, 6 out.
    """
    read = _bytes(*case.inputs)
    if what == "forward":
        return read + _bytes(case.output_gradient)
    return read + _bytes(case.output_gradient) + _bytes(*case.inputs)
