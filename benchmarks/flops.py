"""Number of operations and bytes of a case, computed from its shapes alone.

A multiply-accumulate (MAC) is two operations. Only the MACs of convolutions, 1×1 included, are counted. Biases and
gating products are not. Bytes are the compulsory ones: each input is read once and each output is written once,
whatever else a kernel moves.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lite_rtse_ext import reference
from lite_rtse_ext.benchmark.operators import Case


@dataclass(frozen=True)
class Work:
    """Work of one pass of a case.

    Args:
        operations: necessary operations.
        recomputed: additional operations that recompute the forward pass, because it saves nothing for backward.
        bytes: compulsory bytes.
    """

    operations: float
    recomputed: float
    bytes: float

    @property
    def executed(self) -> float:
        """All operations that the processor executes."""
        return self.operations + self.recomputed

    @property
    def intensity(self) -> float:
        """Executed operations per compulsory byte."""
        return self.executed / self.bytes


def macs_per_point(module: nn.Module) -> int:
    """Return the MACs of a module's convolutions per (frame, bin).

    Each convolution has output channels × input channels per group × kernel size MACs.

    Multi-Order block, C = 64, n = 5, k = 7, 32 → 1 channels::

        1×1 in          32 · 128                                   =  4,096
        depthwise       49 · (124 + 120 + 112 + 96)                = 22,148
        1×1 of gates    Σ g · 2g = 2 · (16 + 64 + 256 + 1,024)     =  2,720
        1×1 out         64 · 1                                     =     64

    Conv-Block, 32 → 32: 32 · 32 (in) + 32 · 9 (depthwise) + 32 · 32 (out) + 32 · 32 (skip) = 3,360;
    1 → 32: 32 + 288 + 1,024 + 32 = 1,376.

    Depthwise 7×7 on 64 channels: 64 · 49 = 3,136. Products with zero padding are counted, too.
    """
    return sum(conv.weight.numel() for conv in module.modules() if isinstance(conv, nn.Conv2d))


def _points(case: Case) -> int:
    batch, _, frames, bins = case.inputs[0].shape
    return batch * frames * bins


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def work(case: Case, what: str) -> Work:
    """Return the operations and bytes of one pass of a convolution's case.

    Forward pass: every weight takes part in one MAC per point. Backward pass: the gradient of the convolution's input
    takes as many MACs, and so does the gradient of the weight. If a case needs no gradients of its inputs, the input
    gradient of its first convolution is not counted. The fused operator computes it nonetheless.

    The fused operators save only the inputs for the backward pass and recompute the forward pass there. This takes as
    many MACs again, except for ``causal_dwconv2d``, which needs no recomputation.

    Compulsory bytes, forward: inputs and parameters are read, the output is written. Backward: inputs, parameters and
    output gradient are read, the gradients of inputs and parameters are written.

    Args:
        case: a case of causal_dwconv2d, conv_block, conv_blocks or multi_order_conv.
        what: "forward" or "backward".

    Raises:
        ValueError: the case or the pass is another one.
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
    """Return the MACs per point of the convolutions that read the input: "in" and "skip" of the first Conv-Block."""
    first = next(block for block in module.modules() if isinstance(block, reference.ConvBlock))
    weights, _ = first.operands()
    return weights[0].numel() + weights[3].numel()


def reconstruction_bytes(case: Case, what: str) -> int:
    """Return the compulsory bytes of ``mask_residual``. It is memory-bound, and its MACs are negligible.

    Forward: 2 + 4 values per point are read and 2 are written. Backward: these 6 values and the output gradient (2) are
    read, and 6 are written.
    """
    read = _bytes(*case.inputs)
    if what == "forward":
        return read + _bytes(case.output_gradient)
    return read + _bytes(case.output_gradient) + _bytes(*case.inputs)
